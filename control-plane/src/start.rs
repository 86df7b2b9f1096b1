//! From settings to a running control plane, and to its end.

use crate::{
    clock::Clock,
    db::Database,
    grpc::{Door, Listener},
    seal::Sealer,
};
use anyhow::Context as _;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long open calls may go on after a signal to stop.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Settings {
    /// The database, as the serving login.
    pub(crate) url: String,
    pub(crate) listen_agents: SocketAddr,
    pub(crate) seal_key_file: PathBuf,
}

/// Serves until a signal.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let db = Database::open(&settings.url).await.context("DATABASE_URL")?;
    let sealer = Arc::new(sealer(&settings.seal_key_file)?);
    let stop = CancellationToken::new();
    let door = Door::open(db, sealer, Clock::System, stop.clone()).await?;
    let agents = Listener::bind(settings.listen_agents, door).await?;
    tracing::info!("gateways join and connect at https://{}", agents.address()?);

    let serving = tokio::spawn(agents.run());
    stopped().await?;
    tracing::info!("stopping");
    stop.cancel();
    if tokio::time::timeout(GRACE, serving).await.is_err() {
        tracing::warn!("some calls did not end in time");
    }
    Ok(())
}

/// The keys that seal secrets; made where there are none.
pub(crate) fn sealer(file: &Path) -> anyhow::Result<Sealer> {
    if !file.exists() {
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
