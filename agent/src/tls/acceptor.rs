//! The handshake on the callers' port.

use super::{
    ALPN,
    acme::Challenges,
    clients::{ClientAuthority, ClientCertificate},
    pair::Pair,
};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    server::{Acceptor as HelloAcceptor, NoServerSessionStorage},
    sign::SingleCertAndKey,
};
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

/// How long a caller may take for the handshake: two round trips of a bad mobile link, many times over.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Answers handshakes with what is served at that moment. Cheap to clone; each core has one.
#[derive(Clone)]
pub(crate) struct Acceptor(Arc<Shared>);

struct Shared {
    /// `None` as long as there is no certificate: then nobody gets through.
    config: ArcSwapOption<ServerConfig>,
    parts: Mutex<Parts>,
    challenges: Challenges,
}

/// What the configuration is made of.
#[derive(Default)]
struct Parts {
    pair: Option<Pair>,
    clients: Option<ClientAuthority>,
}

/// A connection whose handshake is done.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    /// The caller's, where it presented one that the authority for such vouches for.
    pub(crate) client: Option<Arc<ClientCertificate>>,
}

impl Acceptor {
    pub(super) fn new() -> Self {
        let challenges = Challenges::new();
        Self(Arc::new(Shared { config: ArcSwapOption::empty(), parts: Mutex::default(), challenges }))
    }

    /// `None` for who speaks no TLS, or too slowly, or presents a certificate that nobody vouches for: that is nobody's
    /// caller, and no event of ours.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<Secured> {
        let handshake = async {
            let hello = LazyConfigAcceptor::new(HelloAcceptor::default(), stream).await.ok()?;
            if let Some(challenge) = self.0.challenges.of(&hello.client_hello()) {
                // The handshake is the answer; there is nothing to say behind it.
                let mut stream = hello.into_stream(challenge).await.ok()?;
                let _ = stream.shutdown().await;
                return None;
            }
            let config = self.0.config.load_full()?;
            hello.into_stream(config).await.ok()
        };
        let stream = tokio::time::timeout(HANDSHAKE, handshake).await.ok()??;
        let client = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let client = client.and_then(ClientCertificate::read).map(Arc::new);
        if let Some(client) = &client {
            tracing::debug!(client.certificate = %client, "a caller presented a certificate");
        }
        Some(Secured { stream, client })
    }

    /// Where an authority for certificates finds its answers.
    pub(super) fn challenges(&self) -> Challenges {
        self.0.challenges.clone()
    }

    /// Acts on the next handshake. Connections that are open go on as they are.
    pub(super) fn serve(&self, pair: Pair) -> Result<(), rustls::Error> {
        self.change(|parts| parts.pair = Some(pair))
    }

    /// Whose callers' certificates count from the next handshake on.
    pub(super) fn trust(&self, clients: ClientAuthority) -> Result<(), rustls::Error> {
        self.change(|parts| parts.clients = Some(clients))
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) -> Result<(), rustls::Error> {
        let mut parts = self.0.parts.lock();
        change(&mut parts);
        if let Some(pair) = &parts.pair {
            self.0.config.store(Some(Arc::new(config(pair, parts.clients.as_ref())?)));
        }
        Ok(())
    }
}

/// A configuration of its own for each change, and with it a new memory of sessions: none can be resumed past one.
fn config(pair: &Pair, clients: Option<&ClientAuthority>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
        None => builder.with_no_client_auth(),
    };
    let certified = Arc::clone(&pair.certified);
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    if clients.is_some() {
        // A resumed session would bring a certificate that was checked hours ago.
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}
