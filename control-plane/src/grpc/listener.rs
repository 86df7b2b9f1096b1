//! Our own accept loop: the certificate that is shown can be exchanged while it runs, and a connection ends with the
//! certificate of its agent.

use super::{Door, lateness::Lenient, peer::Peer};
use crate::{authority::OWN_LIFE, clock::Clock};
use arc_swap::ArcSwap;
use hyper::{Request, body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

/// Connections at once: 10,000 agents that reconnect while their old ones are still being noticed as gone.
const MAX_CONNECTIONS: usize = 20_000;

/// A handshake takes two round trips.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// An agent has a stream, a batch of usage, and a renewal at once.
const MAX_STREAMS: u32 = 16;

/// Whoever joins makes one call, on a connection that ends soon.
const STRANGERS_STREAMS: u32 = 2;

/// A host that vanished is noticed within a minute.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// What an agent gets whose certificate has ended, to get another by.
const TO_RENEW: Duration = Duration::from_secs(30);

/// After a failed accept: too many open files do not get fewer by trying again at once.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("--listen-agents: can't listen on {address}; choose another port")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the certificate can't be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("TLS: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

pub(crate) struct Listener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    door: Door,
}

/// The certificate that is shown.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Shown {
    fn make(door: &Door) -> Result<CertifiedKey, ListenError> {
        let (chain, key) = door.authority.for_control_plane(door.clock.now())?;
        Ok(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?)
    }
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr, door: Door) -> Result<Self, ListenError> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(door.authority.certificate().clone())?;
        // Without a certificate one may only join; each other call asks for it.
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(Shown::make(&door)?)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Lenient(clients)))
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would not show whether its certificate has ended since.
        config.send_tls13_tickets = 0;
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), shown, door })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until it is stopped, and waits until the connections have ended.
    pub(crate) async fn run(self) {
        let Self { listener, acceptor, shown, door } = self;
        let (routes, clock, stop) = (door.routes(), door.clock.clone(), door.stop.clone());
        let connections = TaskTracker::new();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        connections.spawn(renew(shown, door));
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&room).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    let connection =
                        serve(socket, acceptor.clone(), routes.clone(), clock.clone(), stop.clone(), permit);
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection of an agent can't be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }
}

/// A new certificate for the control plane well before the one that is shown ends.
async fn renew(shown: Arc<Shown>, door: Door) {
    let every = OWN_LIFE.unsigned_abs() / 3;
    loop {
        tokio::select! {
            () = door.stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        match Shown::make(&door) {
            Ok(key) => shown.0.store(Arc::new(key)),
            Err(error) => tracing::error!(error = %error, "the control plane's certificate is not renewed"),
        }
    }
}

async fn serve(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    routes: Routes,
    clock: Clock,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    // Without it a small message waits 40 ms for the other side's delayed acknowledgement.
    let _ = socket.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(socket)).await else {
        // Strangers and broken-off handshakes are no news.
        return;
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = certificates.first().and_then(Peer::of);
    let is_stranger = peer.is_none();
    let ends = peer.as_ref().map(|peer| peer.not_after.duration_since(clock.now()));
    let service = TowerToHyperService::new(routes);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer.clone() {
            request.extensions_mut().insert(peer);
        }
        hyper::service::Service::call(&service, request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(if is_stranger { STRANGERS_STREAMS } else { MAX_STREAMS })
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let certificate_ends = async {
        match ends {
            // One that has ended is here to renew.
            Some(left) => {
                tokio::time::sleep(Duration::try_from(left).unwrap_or_default().max(TO_RENEW)).await
            }
            // A stranger may join, which takes one call.
            None => tokio::time::sleep(TO_RENEW).await,
        }
    };
    tokio::select! {
        // However it ended: the agent is gone.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = certificate_ends => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(HANDSHAKE_WITHIN, connection).await;
}
