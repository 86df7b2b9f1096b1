//! From settings to a running gateway, and to its end: the one place that knows everything.

mod agent_id;
mod signals;

use crate::{
    access_log::AccessLog,
    admin::{self, Admin},
    admit::{LocalStore, StoreClock},
    ask::{BodyBudget, memory},
    cli::AccessLogTo,
    clock::Clock,
    core::{self, Shared},
    decisions::{DecisionLog, LogCloser},
    dial::{Guard, tls_config},
    explain::{Explainer, LocalSocket, answer_questions},
    fetch::Fetcher,
    identify::{Issuers, UsedProofs},
    listen,
    load::Load,
    managed::Managed,
    metrics::Metrics,
    route::Engines,
    settings::{AdminAddress, BundleOrigin, Environment, LocalOrigin, Settings},
    snapshot::Snapshot,
    source::{Asked, Loaded, Looks, Source},
    tls::Tls,
    usage::{Destination, SpoolWriter},
};
use agent_id::agent_id;
use anyhow::Context as _;
use attach_proto::{enrolment::AgentName, id::Revision};
use rustix::process::{Resource, getrlimit, setrlimit};
use signals::Signals;
use std::{fs, os::unix::fs::DirBuilderExt as _, sync::Arc, thread};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Questions of the control plane that wait to be answered: it passes four on at once.
const QUESTIONS: usize = 4;

/// Serves until a signal, then drains. Returns when every answer is out and every event durable.
pub(crate) fn serve(settings: &Settings, environment: Environment) -> anyhow::Result<()> {
    raise_file_limit();
    let clock = Clock::System;
    let client_tls = tls_config();
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetcher = Fetcher::new(Arc::clone(&client_tls), guard(settings));
    let issuers = Issuers::new(control.handle().clone(), &settings.state_dir, clock.clone(), fetcher);
    let issuers = issuers.with_ttl(settings.jwks_ttl);
    let issuers = Arc::new(issuers);
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let looks = Looks { engine_tls: Arc::clone(&client_tls), issuers: Arc::clone(&issuers), questions };
    let (mut source, managed) = source(settings, environment, &clock, looks)?;
    let tls =
        settings.tls.as_ref().map(|it| Tls::open(it, &settings.state_dir, clock.clone())).transpose()?;
    let (snapshot, listeners) = match source.load()? {
        Loaded::Bundle(snapshot) => (snapshot, Some(listen::bind(settings.listen, settings.workers)?)),
        // No caller is let in to be refused: the port is opened with the first bundle.
        Loaded::Nobody(snapshot) => (snapshot, None),
    };
    let snapshot = Arc::new(snapshot);

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&settings.state_dir)
        .with_context(|| format!("--state {}: can't be made", settings.state_dir.display()))?;
    let (agent, pool, destination) = match &managed {
        Some(managed) => {
            let AgentName { pool, agent } = managed.name();
            (agent, Some(pool), Destination::ControlPlane(managed.authority()))
        }
        None => (agent_id(&settings.state_dir)?, None, Destination::ThisHost),
    };
    let spool = SpoolWriter::start(&settings.state_dir, clock.clone(), destination)?;
    let (lines, close_lines) = match settings.access_log {
        AccessLogTo::Stdout => Some(DecisionLog::to_stdout(clock.clone())?).unzip(),
        AccessLogTo::Off => (None, None),
    };
    let (refusals, close_refusals) = DecisionLog::to_state(&settings.state_dir, clock.clone())?;
    let standing = managed.as_ref().map(Managed::standing);
    let tls_standing = tls.as_ref().map(|tls| Arc::clone(&tls.standing));
    let metrics = Metrics::new(standing.clone(), Arc::clone(&issuers), tls_standing.clone(), clock.clone());
    let metrics = Arc::new(metrics);
    let (snapshots, receiver) = watch::channel(Arc::clone(&snapshot));

    issuers.apply(&snapshot);

    let stop = CancellationToken::new();
    let abort = CancellationToken::new();
    let end = CancellationToken::new();
    let used_proofs = Arc::new(UsedProofs::new(clock.now()));
    let explainer = Explainer {
        snapshots: receiver.clone(),
        issuers: Arc::clone(&issuers),
        used: Arc::clone(&used_proofs),
        clock: clock.clone(),
        state: settings.state_dir.clone(),
    };
    let shared = Shared {
        snapshots: receiver.clone(),
        issuers: Arc::clone(&issuers),
        used_proofs,
        local_store: LocalStore::new(StoreClock::Own),
        engines: Engines::new(),
        bodies: BodyBudget::of_this_machine(),
        spool: spool.handle(),
        access_log: AccessLog { lines, refusals },
        metrics: Arc::clone(&metrics),
        clock: clock.clone(),
        agent,
        pool,
        auth_config: settings.auth_config.clone(),
        max_request_bytes: settings.max_request_bytes,
        places: settings.places.clone(),
        proxies: settings.proxies.clone(),
        cors: settings.cors.clone(),
        load: Load::new(settings.max_in_progress, memory()),
        grace: settings.grace,
        tls: tls.as_ref().map(|tls| tls.acceptor.clone()),
        stop: stop.clone(),
        abort: abort.clone(),
        engine_tls: client_tls,
    };
    let admin = Admin {
        snapshots: receiver.clone(),
        issuers: Arc::clone(&issuers),
        spool: spool.handle(),
        metrics: Arc::clone(&metrics),
        access_log: shared.access_log.clone(),
        clock,
        standing,
        tls: tls_standing,
        stop: stop.clone(),
    };
    let ended = control.block_on(async {
        // Before the first caller: what can fail fails now.
        let mut signals = Signals::new()?;
        let admin_listener = bind_admin(settings.admin).await?;
        let admin_address = admin_listener.local_addr()?;
        tracing::info!(
            "health and metrics on http://{admin_address}, state in {}",
            settings.state_dir.display()
        );
        let admin = tokio::spawn(admin::serve(admin, admin_listener, end.clone()));
        explain_to(explainer, asked);
        let gauge = Arc::clone(&metrics);
        let revision = move |snapshot: &Snapshot| {
            gauge.bundle_revision.set(i64::try_from(snapshot.bundle().revision.0).unwrap_or(i64::MAX));
        };
        revision(&snapshot);
        let running = managed.map(|managed| managed.start(&spool));
        let follow = tokio::spawn(source.follow(snapshots, move |snapshot| {
            // Before requests are served by it, or a new issuer's callers would meet no keys.
            issuers.apply(snapshot);
            revision(snapshot);
        }));
        let listeners = match listeners {
            Some(listeners) => listeners,
            None => {
                tokio::select! {
                    () = first_bundle(receiver.clone()) => listen::bind(settings.listen, settings.workers)?,
                    () = signals.wait(&stop) => Vec::new(),
                }
            }
        };
        if !stop.is_cancelled() {
            let address = listeners.first().map_or(Ok(settings.listen), std::net::TcpListener::local_addr)?;
            say_hello(&Arc::clone(&receiver.borrow()), address, settings);
        }
        let cores = spawn_cores(&shared, listeners)?;
        // After the port is open: an authority for certificates may want to see us there.
        let keep = tls.map(|tls| tokio::spawn(tls.keeper.run()));
        drop(shared);
        if !stop.is_cancelled() {
            signals.wait(&stop).await;
        }
        // The cores drain on their own threads; health and issuers' keys stay available to them meanwhile.
        let mut drained = tokio::task::spawn_blocking(move || join(cores));
        let drained = tokio::select! {
            drained = &mut drained => drained,
            () = signals.again() => {
                tracing::warn!("told to stop again: answers in progress are cut off");
                abort.cancel();
                drained.await
            }
        };
        if let Some(running) = running {
            running.finish().await;
        }
        end.cancel();
        follow.abort();
        keep.inspect(tokio::task::JoinHandle::abort);
        admin.await??;
        drained?
    });
    // The issuers' tasks hold the runtime's handle, not the other way about.
    control.shutdown_background();
    let closed = spool.close().context("the last usage events");
    close_refusals.close();
    close_lines.map(LogCloser::close);
    ended.and(closed)
}

/// Answers who asks on this host, and the control plane. A gateway that can't be asked serves all the same.
fn explain_to(explainer: Explainer, asked: mpsc::Receiver<Asked>) {
    match LocalSocket::open(&explainer.state) {
        Ok(socket) => drop(tokio::spawn(socket.serve(explainer.clone()))),
        Err(error) => tracing::warn!("{error}; `attach-gateway explain TOKEN` does not work on this host"),
    }
    tokio::spawn(answer_questions(explainer, asked));
}

/// Where bundles come from, and what belongs to a gateway whose bundles come from a control plane.
fn source(
    settings: &Settings,
    environment: Environment,
    clock: &Clock,
    looks: Looks,
) -> anyhow::Result<(Source, Option<Managed>)> {
    match &settings.origin {
        BundleOrigin::Local(origin) => Ok((Source::local(LocalOrigin::clone(origin), environment), None)),
        BundleOrigin::ControlPlane { upstreams } => {
            let managed = Managed::load(&settings.state_dir, clock.clone())?;
            let source = managed.source(upstreams.clone(), environment, looks)?;
            Ok((source, Some(managed)))
        }
    }
}

/// Issuers in this host's own settings are its operator's word; those that a control plane sends, a tenant wrote.
fn guard(settings: &Settings) -> Guard {
    match &settings.origin {
        BundleOrigin::Local(_) => Guard::Operator,
        BundleOrigin::ControlPlane { .. } => Guard::Tenant(Arc::clone(&settings.allowed_addresses)),
    }
}

/// Until there is a bundle to serve.
async fn first_bundle(mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    // Revisions begin with 1. The source lives as long as the gateway; without it there will be none.
    if snapshots.wait_for(|snapshot| snapshot.bundle().revision > Revision(0)).await.is_err() {
        std::future::pending().await
    }
}

/// Each connection is a file or two. The usual soft limit of 1,024 is for programs of another age.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
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

/// Waits for all of them, whatever becomes of one; then tells the first that failed.
fn join(cores: Vec<thread::JoinHandle<std::io::Result<()>>>) -> anyhow::Result<()> {
    let ends: Vec<_> = cores.into_iter().map(thread::JoinHandle::join).collect();
    for end in ends {
        end.map_err(|_| anyhow::anyhow!("a core panicked"))??;
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

fn say_hello(snapshot: &Snapshot, address: std::net::SocketAddr, settings: &Settings) {
    let bundle = snapshot.bundle();
    let engines: Vec<_> = bundle.upstreams.iter().map(|upstream| upstream.url.as_str()).collect();
    let scheme = match &settings.tls {
        Some(tls) => {
            tracing::info!("TLS with {}", tls.origin);
            "https"
        }
        None => "http",
    };
    tracing::info!("listening on {scheme}://{address}, engine {}", engines.join(" "));
    for provider in &bundle.identity_providers {
        tracing::info!("tokens of {} for {}", provider.issuer, provider.audiences.join(", "));
    }
    for policy in bundle.tenants.iter().filter_map(|tenant| tenant.did.as_ref()) {
        let whom =
            if policy.allowed.any { "all".to_owned() } else { policy.allowed.listed.len().to_string() };
        tracing::info!("proofs of DIDs ({whom}) for {}", policy.audiences.join(", "));
    }
    if !bundle.keys.is_empty() {
        tracing::info!("API keys: {}", bundle.keys.len());
    } else if bundle.identity_providers.is_empty() && !snapshot.has_did_callers() {
        tracing::warn!("there is no API key and no identity provider: nobody can call");
    }
    if bundle.limits.is_empty() {
        tracing::warn!("there is no limit: callers may use as much as the engines give");
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
