//! From settings to a running control plane, and to its end.

use crate::{
    api,
    clock::Clock,
    db::{Database, authorities},
    domain::actor::Actor,
    grpc::{Door, Listener},
    issuer_keys::IssuerKeys,
    listen,
    ops::make_first_operator_token,
    router::router,
    seal::Sealer,
    state::{App, PublicUrl},
};
use anyhow::Context as _;
use attach_proto::destination::Exceptions;
use http::Uri;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// How long open calls may go on after a signal to stop.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Settings {
    /// The database, as the serving login.
    pub(crate) database_url: String,
    pub(crate) database_direct_url: Option<String>,
    pub(crate) listen_agents: SocketAddr,
    pub(crate) seal_key_file: PathBuf,
    /// Where gateways reach it; its own address without a word.
    pub(crate) grpc_url: Option<String>,
    /// For people.
    pub(crate) listen: SocketAddr,
    /// Where people reach it; its own address without a word.
    pub(crate) public_url: Option<String>,
    pub(crate) operator_token_file: Option<PathBuf>,
    /// Where tenants' issuers may lie beside public addresses.
    pub(crate) allowed_addresses: Arc<Exceptions>,
    /// Issuers' keys are renewed before they are that old.
    pub(crate) jwks_ttl: Duration,
}

/// Serves until a signal.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    raise_file_limit();
    let db = Database::open_with(&settings.database_url, settings.database_direct_url.as_deref())
        .await
        .context("DATABASE_URL")?;
    let sealer = Arc::new(sealer(&settings.seal_key_file, &db).await?);
    let stop = CancellationToken::new();
    let issuer_keys = IssuerKeys::new(db.clone(), settings.allowed_addresses, settings.jwks_ttl);
    let door =
        Door::open(db.clone(), Arc::clone(&sealer), Arc::new(issuer_keys), Clock::System, stop.clone())
            .await
            .with_context(|| format!("--seal-key-file {}", settings.seal_key_file.display()))?;
    let authority_sha256 = door.authority.sha256();
    let questions = Arc::clone(&door.questions);
    let agents = Listener::bind(settings.listen_agents, door).await?;
    let grpc_url = match settings.grpc_url {
        Some(url) => checked_grpc_url(&url)?,
        None => format!("https://{}", reachable(agents.address()?, "--grpc-url")?),
    };

    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("--listen: can't listen on {}; choose another port", settings.listen))?;
    let own = listener.local_addr().context("--listen")?;
    let public_url = match settings.public_url {
        Some(url) => url,
        None => format!("http://{}", reachable(own, "--public-url")?),
    };
    let public_url = Arc::new(PublicUrl::parse(&public_url)?);
    first_token(&db, &Clock::System, settings.operator_token_file.as_deref()).await?;
    tracing::info!("gateways join and connect at {grpc_url}");
    tracing::info!(
        "the console is at {}, the REST API at {}",
        public_url.origin(),
        public_url.link(api::PREFIX)
    );
    let app = App {
        db,
        clock: Clock::System,
        sealer,
        questions,
        public_url,
        authority_sha256,
        grpc_url: grpc_url.into(),
        jwks_ttl: settings.jwks_ttl,
    };

    let for_agents = tokio::spawn(until_its_end(agents.run(), stop.clone()));
    let for_people =
        tokio::spawn(until_its_end(listen::serve(listener, router(app), stop.clone()), stop.clone()));
    let is_asked = tokio::select! {
        signal = stopped() => signal.map(|()| true)?,
        () = stop.cancelled() => false,
    };
    tracing::info!("stopping");
    stop.cancel();
    let serving = async { tokio::join!(for_agents, for_people) };
    if tokio::time::timeout(GRACE, serving).await.is_err() {
        tracing::warn!("some calls did not end in time");
    }
    anyhow::ensure!(is_asked, "a part of the control plane ended by itself; its log says why");
    Ok(())
}

/// Each connection is a file. The usual soft limit of 1,024 is for programs of another age.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

/// An address that others can be told.
fn reachable(own: SocketAddr, setting: &str) -> anyhow::Result<SocketAddr> {
    anyhow::ensure!(
        !own.ip().is_unspecified(),
        "{setting}: nobody reaches {own}, which stands for all addresses of this host: say where others reach it"
    );
    Ok(own)
}

/// As gateways take it: they would refuse the join line else.
fn checked_grpc_url(url: &str) -> anyhow::Result<String> {
    let address: Option<Uri> = url.parse().ok();
    let is_address = address.is_some_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some() && matches!(uri.path(), "" | "/")
    });
    anyhow::ensure!(
        is_address,
        "--grpc-url: is no https://host:port, where gateways reach this control plane"
    );
    Ok(url.trim_end_matches('/').to_owned())
}

/// The end of a part is the end of all: what goes on with half of itself looks well and is not.
async fn until_its_end(part: impl Future<Output = ()>, stop: CancellationToken) {
    let _end = stop.drop_guard();
    part.await;
}

/// Made once in the life of a database, and shown once: on standard output, or in a file that nobody else may read.
async fn first_token(db: &Database, clock: &Clock, file: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = file else {
        if let Some(token) = make_first_operator_token(db, &Actor::command_line(), clock.now()).await? {
            writeln!(io::stdout(), "The operator token, shown this once:\n{}", token.as_str())?;
        }
        return Ok(());
    };
    let named = || format!("--operator-token-file {}", path.display());
    // Before the token is made: one that can't be written down would be lost.
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(false).mode(0o600).open(path).with_context(named)?;
    match make_first_operator_token(db, &Actor::command_line(), clock.now()).await? {
        Some(token) => {
            file.set_len(0).with_context(named)?;
            writeln!(file, "{}", token.as_str()).and_then(|()| file.sync_all()).with_context(named)
        }
        None if file.metadata().is_ok_and(|of_file| of_file.len() == 0) => {
            fs::remove_file(path).with_context(named)
        }
        None => Ok(()),
    }
}

/// The keys that seal secrets; made where nothing was sealed yet.
pub(crate) async fn sealer(file: &Path, db: &Database) -> anyhow::Result<Sealer> {
    if !file.exists() {
        let mut tx = db.operator().await?;
        anyhow::ensure!(
            authorities::authorities(tx.connection()).await?.is_empty(),
            "--seal-key-file {}: is not there, and this database has secrets sealed with it: put its copy there",
            file.display()
        );
        Sealer::make(file).context("--seal-key-file")?;
        tracing::warn!("made {}: keep a copy, for what it sealed opens with it alone", file.display());
    }
    Sealer::read(file).context("--seal-key-file")
}

async fn stopped() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminated.recv() => Ok(()),
    }
}
