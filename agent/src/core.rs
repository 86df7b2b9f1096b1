//! One core: a single-threaded runtime with its own listener, pipeline and settler.
//!
//! Nothing of a request leaves its core but the usage event, so there is no lock and no wake-up between cores on the
//! way of a request.

use crate::{
    access_log::AccessLog,
    admit::{Admitter, LocalStore, MAX_IN_PROGRESS},
    ask::BodyBudget,
    callers::{Full, Place, Places, Proxies},
    clock::Clock,
    connection::{self, Caller},
    cors::Cors,
    forward::{Forwarder, Pool},
    identify::{Identifier, Issuers, UsedProofs},
    load::{CoreLoad, Load},
    metrics::Metrics,
    own_routes::OwnRoutes,
    peer::{Fate, Peer, Peers},
    pipeline::Pipeline,
    route::Engines,
    settings::AuthConfig,
    settle::Settler,
    snapshot::Snapshot,
    tls::{Acceptor, HTTP2, Secured},
    usage::SpoolHandle,
};
use attach_proto::id::{AgentId, PoolId};
use rustls::ClientConfig;
use std::{
    net::{IpAddr, TcpListener},
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::LocalSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often idle connections to engines are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// What the cores share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) used_proofs: Arc<UsedProofs>,
    pub(crate) local_store: Arc<LocalStore>,
    pub(crate) engines: Engines,
    pub(crate) bodies: BodyBudget,
    pub(crate) spool: SpoolHandle,
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) agent: AgentId,
    /// `None` for a gateway that belongs to no control plane.
    pub(crate) pool: Option<PoolId>,
    pub(crate) auth_config: AuthConfig,
    pub(crate) max_request_bytes: usize,
    pub(crate) places: Places,
    pub(crate) proxies: Proxies,
    pub(crate) cors: Cors,
    pub(crate) load: Load,
    pub(crate) grace: Duration,
    pub(crate) tls: Option<Acceptor>,
    /// No new requests; those in progress go on.
    pub(crate) stop: CancellationToken,
    /// Those in progress are cut off.
    pub(crate) abort: CancellationToken,
    /// For engines over TLS.
    pub(crate) engine_tls: Arc<ClientConfig>,
}

/// Runs until stopped and drained. Blocks its thread.
pub(crate) fn run(shared: Shared, listener: TcpListener) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, serve(shared, listener))
}

async fn serve(shared: Shared, listener: TcpListener) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (tickets, settled) = mpsc::channel(MAX_IN_PROGRESS);
    let (queue, reports) = shared.spool.attach_core();
    let settler = Settler {
        tickets: settled,
        spool: queue,
        reports,
        access_log: shared.access_log.clone(),
        metrics: Arc::clone(&shared.metrics),
    };
    let settler = tokio::task::spawn_local(settler.run());

    let pool = Pool::new(shared.engine_tls);
    let pipeline = Rc::new(Pipeline {
        snapshots: shared.snapshots,
        own_routes: OwnRoutes::new(&shared.auth_config, Arc::clone(&shared.metrics)),
        identifier: Identifier::new(shared.issuers, shared.used_proofs, shared.clock.clone())
            .behind_own_tls(shared.tls.is_some()),
        bodies: shared.bodies,
        max_request_bytes: shared.max_request_bytes,
        spool: shared.spool,
        admitter: Admitter::new(shared.local_store, tickets, shared.clock.clone(), shared.agent, shared.pool),
        forwarder: Forwarder::new(pool.clone(), shared.engines),
        access_log: shared.access_log,
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock,
        proxies: shared.proxies,
        cors: shared.cors,
        load: CoreLoad::new(shared.load),
    });
    pipeline.open_stores();
    let chores = tokio::task::spawn_local(chores(Rc::downgrade(&pipeline), pool));

    let connections = TaskTracker::new();
    let peers = Rc::new(Peers::default());
    let looks = tokio::task::spawn_local({
        let peers = Rc::clone(&peers);
        async move { peers.look_after().await }
    });
    let door =
        Door { places: shared.places, tls: shared.tls, pipeline: Rc::clone(&pipeline), stop: shared.stop };
    door.accept(&listener, &connections, &peers).await;
    drop(door);

    // No more connections are taken; the kernel sends new ones to whoever listens now.
    drop(listener);
    connections.close();
    peers.tell(Fate::Leave);
    tokio::select! {
        () = connections.wait() => {}
        () = shared.abort.cancelled() => {}
        () = tokio::time::sleep(shared.grace) => shared.abort.cancel(),
    }
    peers.tell(Fate::Gone);
    if !connections.is_empty() {
        tracing::warn!(
            "{} connections are still open after the grace period and are closed",
            connections.len()
        );
        connections.wait().await;
    }
    // The settler ends when all that it took is durable; until then the quota stores stay connected.
    pipeline.admitter.close();
    let _ = settler.await;
    chores.abort();
    looks.abort();
    Ok(())
}

/// Where callers come in.
struct Door {
    places: Places,
    tls: Option<Acceptor>,
    pipeline: Rc<Pipeline>,
    stop: CancellationToken,
}

impl Door {
    async fn accept(&self, listener: &tokio::net::TcpListener, connections: &TaskTracker, peers: &Peers) {
        /// After running out of file descriptors, time for some to be closed.
        const PAUSE: Duration = Duration::from_millis(50);
        loop {
            let (stream, address) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => (stream, address.ip().to_canonical()),
                    Err(error) => {
                        tracing::warn!("a connection could not be accepted: {error}");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            // A proxy has the callers of many.
            let client = Some(address).filter(|address| !self.pipeline.proxies.has(*address));
            let place = match self.places.take(client) {
                Ok(place) => place,
                Err(full) => {
                    self.pipeline.metrics.connections_refused.inc();
                    if self.tls.is_none() {
                        turn_away(&stream, full);
                    }
                    continue;
                }
            };
            // Else the last piece of a stream waits for the caller's delayed acknowledgement, up to 40 ms.
            let _ = stream.set_nodelay(true);
            let Ok(peer) = peers.enter(&stream) else { continue };
            let pipeline = Rc::clone(&self.pipeline);
            match self.tls.clone() {
                None => {
                    connections.spawn_local(async move {
                        let caller = Caller { address, certificate: None };
                        connection::serve_http1(stream, peer, caller, pipeline).await;
                        drop(place);
                    });
                }
                Some(tls) => {
                    connections.spawn_local(over_tls(stream, tls, peer, address, pipeline, place));
                }
            }
        }
    }
}

async fn over_tls(
    stream: TcpStream,
    tls: Acceptor,
    peer: Peer,
    address: IpAddr,
    pipeline: Rc<Pipeline>,
    _place: Place,
) {
    let Some(Secured { stream, client }) = tls.accept(stream).await else { return };
    let caller = Caller { address, certificate: client };
    if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
        connection::serve_http2(stream, peer, caller, pipeline).await;
    } else {
        connection::serve_http1(stream, peer, caller, pipeline).await;
    }
}

/// Says why, as far as the socket takes it at once: whoever comes in crowds gets no more of our time. Over TLS there is
/// nobody to say it to before the handshake, which is what costs.
fn turn_away(stream: &TcpStream, full: Full) {
    let answer: &[u8] = match full {
        Full::Overall => {
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 53\r\n\r\n\
              The gateway has as many connections as it may have.\r\n"
        }
        Full::Client => {
            b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 57\r\n\r\n\
              There are as many connections of yours as there may be.\r\n"
        }
    };
    // To close with bytes unread would reset the connection, and take the answer with it.
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(answer);
}

/// What has to be done now and then on this core. It ends with the pipeline, and does not keep it.
async fn chores(pipeline: Weak<Pipeline>, pool: Pool) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        pool.sweep();
        let Some(pipeline) = pipeline.upgrade() else { return };
        pipeline.load.look();
        pipeline.open_stores();
        pipeline.metrics.settlements_lost.inc_by(pipeline.admitter.newly_lost());
        pipeline.admitter.renew_if_due().await;
    }
}
