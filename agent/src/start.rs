//! From settings to a running gateway, and to its end: the one place that knows everything.

use crate::{
    access_log::AccessLog,
    admin::{self, Admin},
    admit::{LocalStore, StoreClock},
    ask::BodyBudget,
    clock::Clock,
    core::{self, Shared},
    decisions::DecisionLog,
    dial::tls_config,
    identify::Issuers,
    listen,
    metrics::Metrics,
    route::Engines,
    settings::{AdminAddress, Settings},
    snapshot::Snapshot,
    source::Source,
    tls::TlsFiles,
    usage::SpoolWriter,
};
use anyhow::Context as _;
use attach_proto::id::AgentId;
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
    thread,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// Serves until a signal, then drains. Returns when every answer is out and every event durable.
pub(crate) fn serve(settings: &Settings, mut source: Source) -> anyhow::Result<()> {
    let snapshot = Arc::new(source.load()?);
    let tls = settings.tls.as_ref().map(TlsFiles::acceptor).transpose()?;
    let listeners = listen::bind(settings.listen, settings.workers)?;
    let address = listeners.first().map_or(Ok(settings.listen), std::net::TcpListener::local_addr)?;

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&settings.state_dir)
        .with_context(|| format!("--state {}: can't be made", settings.state_dir.display()))?;
    let agent = agent_id(&settings.state_dir)?;
    let clock = Clock::System;
    let spool = SpoolWriter::start(&settings.state_dir, clock.clone())?;
    let (lines, close_lines) = DecisionLog::to_stdout(clock.clone())?;
    let (refusals, close_refusals) = DecisionLog::to_state(&settings.state_dir, clock.clone())?;
    let metrics = Arc::new(Metrics::new());
    let (snapshots, receiver) = watch::channel(Arc::clone(&snapshot));

    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let issuers =
        Arc::new(Issuers::new(control.handle().clone(), &settings.state_dir, clock.clone(), tls_config()));
    issuers.apply(&snapshot);

    let stop = CancellationToken::new();
    let end = CancellationToken::new();
    let shared = Shared {
        snapshots: receiver.clone(),
        issuers: Arc::clone(&issuers),
        local_store: LocalStore::new(StoreClock::Own),
        engines: Engines::new(),
        bodies: BodyBudget::of_this_machine(),
        spool: spool.handle(),
        access_log: AccessLog { lines, refusals },
        metrics: Arc::clone(&metrics),
        clock,
        agent,
        auth_config: settings.auth_config.clone(),
        max_request_bytes: settings.max_request_bytes,
        grace: settings.grace,
        tls,
        stop: stop.clone(),
    };
    let admin = Admin {
        snapshots: receiver.clone(),
        issuers: Arc::clone(&issuers),
        spool: spool.handle(),
        metrics: Arc::clone(&metrics),
        access_log: shared.access_log.clone(),
        stop: stop.clone(),
    };
    let cores = spawn_cores(&shared, listeners)?;
    drop(shared);

    control.block_on(async {
        let admin_listener = bind_admin(settings.admin).await?;
        let admin_address = admin_listener.local_addr()?;
        say_hello(&snapshot, address, admin_address, settings);
        let admin = tokio::spawn(admin::serve(admin, admin_listener, end.clone()));
        let follow = tokio::spawn(source.follow(snapshots));
        let apply = tokio::spawn(apply_snapshots(receiver, issuers, metrics));
        wait_for_signal(&stop).await?;
        // The cores drain on their own threads; health and issuers' keys stay available to them meanwhile.
        let drained = tokio::task::spawn_blocking(move || join(cores));
        drained.await??;
        end.cancel();
        follow.abort();
        apply.abort();
        admin.await??;
        anyhow::Ok(())
    })?;
    // The issuers' tasks hold the runtime's handle, not the other way about.
    control.shutdown_background();
    spool.close().context("the last usage events")?;
    close_refusals.close();
    close_lines.close();
    Ok(())
}

fn spawn_cores(
    shared: &Shared,
    listeners: Vec<std::net::TcpListener>,
) -> anyhow::Result<Vec<thread::JoinHandle<std::io::Result<()>>>> {
    let spawn = |(index, listener)| {
        let shared = shared.clone();
        let stop = shared.stop.clone();
        thread::Builder::new().name(format!("core-{index}")).spawn(move || {
            // A core that dies takes the process down in good order: half a gateway helps nobody.
            let _guard = stop.drop_guard();
            core::run(shared, listener)
        })
    };
    Ok(listeners.into_iter().enumerate().map(spawn).collect::<Result<_, _>>()?)
}

fn join(cores: Vec<thread::JoinHandle<std::io::Result<()>>>) -> anyhow::Result<()> {
    for core in cores {
        core.join().map_err(|_| anyhow::anyhow!("a core panicked"))??;
    }
    Ok(())
}

async fn bind_admin(address: AdminAddress) -> anyhow::Result<tokio::net::TcpListener> {
    match address {
        AdminAddress::Fixed(address) => tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("--admin-port: can't listen on {address}; choose another port")),
        AdminAddress::Preferred(address) => match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => Ok(listener),
            Err(error) => {
                tracing::info!("{address} is not free for health and metrics ({error}); taking another port");
                Ok(tokio::net::TcpListener::bind((address.ip(), 0)).await?)
            }
        },
    }
}

/// Changed configuration reaches the issuers' keys and the gauge; requests see it by themselves.
async fn apply_snapshots(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    issuers: Arc<Issuers>,
    metrics: Arc<Metrics>,
) {
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        issuers.apply(&snapshot);
        metrics.bundle_revision.set(i64::try_from(snapshot.bundle().revision.0).unwrap_or(i64::MAX));
        if snapshots.changed().await.is_err() {
            // No file to follow: this snapshot stays.
            return std::future::pending().await;
        }
    }
}

async fn wait_for_signal(stop: &CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to stop: answers in progress go on"),
        _ = interrupt.recv() => tracing::info!("interrupted: answers in progress go on"),
        () = stop.cancelled() => tracing::error!("a core ended: stopping"),
    }
    stop.cancel();
    Ok(())
}

fn say_hello(
    snapshot: &Snapshot,
    address: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    settings: &Settings,
) {
    let bundle = snapshot.bundle();
    let engines: Vec<_> = bundle.upstreams.iter().map(|upstream| upstream.url.as_str()).collect();
    let scheme = match &settings.tls {
        Some(files) => {
            tracing::info!("TLS with {} and {}", files.certificate.display(), files.key.display());
            "https"
        }
        None => "http",
    };
    tracing::info!("listening on {scheme}://{address}, engine {}", engines.join(" "));
    tracing::info!("health and metrics on http://{admin}, state in {}", settings.state_dir.display());
    for provider in &bundle.identity_providers {
        tracing::info!("tokens of {} for {}", provider.issuer, provider.audiences.join(", "));
    }
    if !bundle.keys.is_empty() {
        tracing::info!("{} API keys", bundle.keys.len());
    }
    for limit in &bundle.limits {
        tracing::info!(
            "limit {}: {} {:?} per {:?}, {:?}",
            limit.id,
            limit.amount,
            limit.measure,
            limit.window,
            limit.counter
        );
    }
}

/// Made at the first start in a state folder, and kept.
fn agent_id(state: &Path) -> anyhow::Result<AgentId> {
    let file = state.join("agent-id");
    match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().with_context(|| format!("{}: is no id; remove it", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = format!("agent-{}", uuid::Uuid::now_v7());
            let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            match made {
                Ok(mut made) => made.write_all(id.as_bytes()).with_context(|| file.display().to_string())?,
                // Another gateway on this folder was first.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return agent_id(state),
                Err(error) => return Err(error).with_context(|| file.display().to_string()),
            }
            Ok(id.parse()?)
        }
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}
