//! How the process is told to end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What people and supervisors send to end it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Until it is told to stop, or a core ended by itself.
    pub(super) async fn wait(&mut self, stop: &CancellationToken) {
        tokio::select! {
            () = self.again() => tracing::info!("told to stop: answers in progress go on"),
            () = stop.cancelled() => tracing::error!("a core ended: stopping"),
        }
        stop.cancel();
    }

    /// Until it is told to.
    pub(super) async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
