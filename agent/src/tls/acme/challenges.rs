//! What the authority is answered when it looks whether a name is ours. There is something only while an order runs.

use foldhash::{HashMap, HashMapExt as _};
use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::PrivatePkcs8KeyDer,
    server::ClientHello,
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{fmt, sync::Arc};

/// RFC 8737 section 6.2.
const ACME_TLS: &[u8] = b"acme-tls/1";

/// Answers by the name of the host, and by token. Cheap to clone. As many as an order has names.
#[derive(Clone)]
pub(crate) struct Challenges(Arc<Mutex<Answers>>);

struct Answers {
    handshakes: HashMap<String, Arc<ServerConfig>>,
    requests: HashMap<String, String>,
}

impl Challenges {
    pub(crate) fn new() -> Self {
        let answers = Answers { handshakes: HashMap::new(), requests: HashMap::new() };
        Self(Arc::new(Mutex::new(answers)))
    }

    /// The configuration that answers this, where it is the authority's look. Whoever else offers this one protocol is
    /// nobody's caller.
    pub(crate) fn of(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let is_alone = hello.alpn().is_some_and(|protocols| protocols.eq([ACME_TLS]));
        // Looked at first: everyone else need not wait for a lock.
        let name = hello.server_name().filter(|_| is_alone)?;
        self.0.lock().handshakes.get(&name.to_ascii_lowercase()).cloned()
    }

    pub(super) fn of_token(&self, token: &str) -> Option<String> {
        self.0.lock().requests.get(token).cloned()
    }

    /// By a certificate for the name that holds the digest and that nobody has signed (RFC 8737 section 3).
    pub(super) fn answer_handshake(&self, name: &str, digest: &[u8]) -> Result<(), AnswerFault> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key)?.der().clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = provider.key_provider.load_private_key(key)?;
        // Put together by hand: what checks certificates knows no such critical extension, and refuses it.
        let certified = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certified));
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        self.0.lock().handshakes.insert(name.to_ascii_lowercase(), Arc::new(config));
        Ok(())
    }

    pub(super) fn answer_request(&self, token: String, answer: String) {
        self.0.lock().requests.insert(token, answer);
    }

    pub(super) fn clear(&self) {
        let mut answers = self.0.lock();
        answers.handshakes.clear();
        answers.requests.clear();
    }
}

/// Why a handshake cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerFault {
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenges(…)")
    }
}
