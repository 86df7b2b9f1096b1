//! One core: a single-threaded runtime with its own listener, pipeline and settler.
//!
//! Nothing of a request leaves its core but the usage event, so there is no lock and no wake-up between cores on the
//! way of a request.

use crate::{
    access_log::AccessLog,
    admit::{Admitter, LocalStore, MAX_IN_PROGRESS},
    ask::BodyBudget,
    clock::Clock,
    forward::{Forwarder, Pool},
    identify::{Identifier, Issuers, UsedProofs},
    metrics::Metrics,
    own_routes::OwnRoutes,
    peer::{Fate, Peer, Peers},
    pipeline::Pipeline,
    route::Engines,
    settings::AuthConfig,
    settle::Settler,
    snapshot::Snapshot,
    tls::{Acceptor, ClientCertificate, Secured},
    usage::SpoolHandle,
};
use attach_proto::id::{AgentId, PoolId};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::{
    convert::Infallible,
    future::{Future as _, poll_fn},
    net::TcpListener,
    pin::pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    task::LocalSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A request's head. 64 KiB takes the largest tokens that identity providers make, and is read before anyone is known.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Connections of callers on one core. Beyond it, new ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_384;

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
        identifier: Identifier::new(shared.issuers, shared.used_proofs, shared.clock.clone()),
        bodies: shared.bodies,
        max_request_bytes: shared.max_request_bytes,
        spool: shared.spool,
        admitter: Admitter::new(shared.local_store, tickets, shared.clock.clone(), shared.agent, shared.pool),
        forwarder: Forwarder::new(pool.clone(), shared.engines),
        access_log: shared.access_log,
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock,
    });
    pipeline.open_stores();
    let chores = tokio::task::spawn_local(chores(Rc::downgrade(&pipeline), pool));

    let connections = TaskTracker::new();
    let peers = Rc::new(Peers::default());
    let looks = tokio::task::spawn_local({
        let peers = Rc::clone(&peers);
        async move { peers.look_after().await }
    });
    accept(&listener, shared.tls.as_ref(), &pipeline, &connections, &peers, &shared.stop).await;

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

async fn accept(
    listener: &tokio::net::TcpListener,
    tls: Option<&Acceptor>,
    pipeline: &Rc<Pipeline>,
    connections: &TaskTracker,
    peers: &Peers,
    stop: &CancellationToken,
) {
    /// After running out of file descriptors, time for some to be closed.
    const PAUSE: Duration = Duration::from_millis(50);
    loop {
        if connections.len() >= MAX_CONNECTIONS {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => continue,
            }
        }
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        // Else the last piece of a stream waits for the caller's delayed acknowledgement, up to 40 ms.
        let _ = stream.set_nodelay(true);
        let Ok(peer) = peers.enter(&stream) else { continue };
        let pipeline = Rc::clone(pipeline);
        match tls.cloned() {
            None => {
                connections.spawn_local(connection(stream, None, peer, pipeline));
            }
            Some(tls) => {
                connections.spawn_local(async move {
                    if let Some(Secured { stream, client }) = tls.accept(stream).await {
                        connection(stream, client, peer, pipeline).await;
                    }
                });
            }
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    client: Option<Arc<ClientCertificate>>,
    peer: Peer,
    pipeline: Rc<Pipeline>,
) {
    let _counted = Counted::new(&pipeline.metrics);
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(client) = &client {
            request.extensions_mut().insert(Arc::clone(client));
        }
        let pipeline = Rc::clone(&pipeline);
        let in_progress = peer.begin();
        async move {
            let answer = pipeline.serve(request).await;
            Ok::<_, Infallible>(answer.map(|body| body.counted(in_progress)))
        }
    });
    let connection = http1::Builder::new()
        // `Peers` looks after that.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut is_leaving = false;
    poll_fn(|context| {
        match peer.fate(context) {
            Fate::Stay => {}
            Fate::Leave if is_leaving => {}
            Fate::Leave => {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            Fate::Gone => return Poll::Ready(()),
        }
        // How a caller's connection ends is no event of ours: its requests tell their own story.
        connection.as_mut().poll(context).map(drop)
    })
    .await;
}

struct Counted(prometheus_client::metrics::gauge::Gauge);

impl Counted {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.connections.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What has to be done now and then on this core. It ends with the pipeline, and does not keep it.
async fn chores(pipeline: Weak<Pipeline>, pool: Pool) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        pool.sweep();
        let Some(pipeline) = pipeline.upgrade() else { return };
        pipeline.open_stores();
        pipeline.metrics.settlements_lost.inc_by(pipeline.admitter.newly_lost());
        pipeline.admitter.renew_if_due().await;
    }
}
