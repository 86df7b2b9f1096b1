//! Identities of a control plane that these tests play.

use super::{identity::Identity, pin::Pinned, request::Request, *};
use attach_proto::{
    enrolment::{AgentName, CONTROL_PLANE_NAME},
    v1,
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair,
};
use rustls::{client::danger::ServerCertVerifier as _, pki_types::UnixTime, server::WebPkiClientVerifier};
use std::sync::Arc;

/// When the certificates of these tests begin, since the Unix epoch.
pub(crate) const FIRST_SECOND: i64 = 1_800_000_000;

/// Signs certificates and manifests.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    signer: Ed25519KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, signer: Ed25519KeyPair::generate().unwrap() }
    }

    fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    fn sha256(&self) -> [u8; 32] {
        digest(&SHA256, &self.der()).as_ref().try_into().unwrap()
    }

    /// For whoever has this key.
    fn certificate(&self, key: &[u8]) -> v1::Certificate {
        let key = KeyPair::try_from(key).unwrap();
        let certificate = CertificateParams::default().signed_by(&key, &self.issuer).unwrap();
        self.reply(certificate.der().to_vec())
    }

    /// For whoever asks.
    pub(crate) fn certify(&self, request: &[u8]) -> v1::Certificate {
        let request = CertificateSigningRequestParams::from_der(&request.to_vec().into()).unwrap();
        self.reply(request.signed_by(&self.issuer).unwrap().der().to_vec())
    }

    /// Good for a day from [`FIRST_SECOND`] on.
    fn reply(&self, certificate: Vec<u8>) -> v1::Certificate {
        let at = |seconds| Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        v1::Certificate {
            certificate,
            not_before: at(FIRST_SECOND),
            not_after: at(FIRST_SECOND + 24 * 3600),
            authorities: vec![self.der()],
            signing_keys: vec![v1::SigningKey {
                key_id: "k1".to_owned(),
                public_key: self.signer.public_key().as_ref().to_vec(),
            }],
        }
    }

    pub(crate) fn enrol(&self, pool: &str, agent: &str) -> Identity {
        self.enrol_at("https://127.0.0.1:1", pool, agent)
    }

    pub(crate) fn enrol_at(&self, address: &str, pool: &str, agent: &str) -> Identity {
        let request = Request::new().unwrap();
        let name = AgentName { pool: pool.parse().unwrap(), agent: agent.parse().unwrap() };
        let address: crate::control_plane::Address = address.parse().unwrap();
        let certificate = self.certificate(&request.key);
        Identity::issued(&address, name, request.key, certificate).unwrap()
    }

    pub(crate) fn sign(&self, head: Vec<u8>) -> v1::Manifest {
        let signature = self.signer.sign(&head).as_ref().to_vec();
        v1::Manifest { head, key_id: "k1".to_owned(), signature }
    }

    fn server_certificate(&self, name: &str) -> rustls::pki_types::CertificateDer<'static> {
        self.for_server(name, &KeyPair::generate().unwrap())
    }

    fn for_server(&self, name: &str, key: &KeyPair) -> rustls::pki_types::CertificateDer<'static> {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }

    /// As a control plane speaks TLS: it shows its authority, and asks for the agent's certificate.
    pub(crate) fn server_config(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der().into()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let key = KeyPair::generate().unwrap();
        let chain = vec![self.for_server(CONTROL_PLANE_NAME, &key), self.der().into()];
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key.serialize_der().try_into().unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

#[test]
fn an_identity_is_read_as_it_was_kept_and_its_key_is_shown_nowhere() {
    let state = tempfile::tempdir().unwrap();
    assert!(!is_enrolled(state.path()));
    let identity = Authority::new().enrol("main", "agent-1");
    identity.store(state.path()).unwrap();
    assert!(is_enrolled(state.path()));
    let read = Identity::load(state.path()).unwrap();
    assert_eq!((read.name.clone(), read.not_after), (identity.name.clone(), identity.not_after));
    assert_eq!(format!("{read:?}"), "Identity(attach://pool/main/agent/agent-1 at https://127.0.0.1:1)");
}

#[test]
fn a_damaged_identity_is_refused_by_the_name_of_its_file() {
    let state = tempfile::tempdir().unwrap();
    Authority::new().enrol("main", "agent-1").store(state.path()).unwrap();
    let file = folder(state.path()).join("identity.json");
    let whole = std::fs::read_to_string(&file).unwrap();
    for bad in [&whole[..whole.len() / 2], "{}", "", &whole.replace("\"agent-1\"", "\"a b\"")] {
        std::fs::write(&file, bad).unwrap();
        let error = Identity::load(state.path()).unwrap_err().to_string();
        assert!(error.contains("identity.json") && error.contains("join again"), "{error}");
    }
}

#[test]
fn a_certificate_of_another_s_key_is_no_identity() {
    let authority = Authority::new();
    let (ours, theirs) = (Request::new().unwrap(), Request::new().unwrap());
    let name = AgentName { pool: "main".parse().unwrap(), agent: "a".parse().unwrap() };
    let address: crate::control_plane::Address = "https://127.0.0.1:1".parse().unwrap();
    let issued = |certificate| Identity::issued(&address, name.clone(), ours.key.clone(), certificate);
    let error = issued(authority.certificate(&theirs.key)).unwrap_err().to_string();
    assert!(error.contains("certificate and key"), "{error}");
    let good = authority.certificate(&ours.key);
    let without = [
        v1::Certificate { signing_keys: Vec::new(), ..good.clone() },
        v1::Certificate { authorities: Vec::new(), ..good.clone() },
        v1::Certificate { not_after: None, ..good.clone() },
        v1::Certificate { certificate: vec![1, 2, 3], ..good.clone() },
    ];
    for bad in without {
        assert!(issued(bad).is_err());
    }
    assert!(issued(good).is_ok());
}

#[test]
fn a_signature_counts_for_its_bytes_and_its_key() {
    let authority = Authority::new();
    let identity = authority.enrol("main", "agent-1");
    let manifest = authority.sign(b"head".to_vec());
    assert_eq!(identity.verify(b"head", &manifest), Ok(()));
    assert!(identity.verify(b"heads", &manifest).is_err());
    let renamed = v1::Manifest { key_id: "k2".to_owned(), ..manifest };
    assert!(identity.verify(b"head", &renamed).unwrap_err().contains("does not know"));
    assert!(identity.verify(b"head", &Authority::new().sign(b"head".to_vec())).is_err());
}

#[test]
fn a_pinned_server_shows_the_authority_and_is_signed_by_it_under_the_one_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let pinned = Pinned::new(ours.sha256());
    let name = |name: &str| rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let verify = |leaf: &rustls::pki_types::CertificateDer<'static>, chain: &[&Authority]| {
        let chain: Vec<_> = chain.iter().map(|authority| authority.der().into()).collect();
        pinned.verify_server_cert(leaf, &chain, &name(CONTROL_PLANE_NAME), &[], UnixTime::now())
    };
    let leaf = ours.server_certificate(CONTROL_PLANE_NAME);
    assert!(verify(&leaf, &[&ours]).is_ok());
    assert!(verify(&leaf, &[&theirs, &ours]).is_ok());
    assert_eq!(verify(&leaf, &[&theirs]).unwrap_err(), pin::OTHER_CONTROL_PLANE);
    assert_eq!(verify(&leaf, &[]).unwrap_err(), pin::OTHER_CONTROL_PLANE);
    // It shows our authority, and is signed by another.
    let stranger = theirs.server_certificate(CONTROL_PLANE_NAME);
    assert!(verify(&stranger, &[&ours, &theirs]).is_err());
    assert!(verify(&ours.server_certificate("localhost"), &[&ours]).is_err());
}
