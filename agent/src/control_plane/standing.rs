//! How things stand between this gateway and its control plane, for health, metrics and logs.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

const SECONDS_PER_DAY: f64 = 24.0 * 3600.0;

/// Written by the tasks that speak with the control plane, read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<State>);

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The stream of configuration is open.
    pub(crate) connected: bool,
    /// The control plane said that this gateway may serve no longer.
    pub(crate) revoked: bool,
    /// Of the bundle that is served; `None` before the first.
    pub(crate) applied_revision: Option<u64>,
    /// When the control plane was last heard.
    pub(crate) last_word: Option<Instant>,
    /// How far this machine's clock is ahead of the control plane's; `None` before the first measurement.
    pub(crate) clock_offset: Option<SignedDuration>,
    /// Revisions that were refused whole, since the start.
    pub(crate) refused_revisions: u64,
    /// What is wrong with the one refused last; `None` once a later one was applied.
    pub(crate) refusal: Option<String>,
    /// Why there is no connection; `None` while there is one.
    pub(crate) problem: Option<String>,
    pub(crate) certificate_ends: Option<Timestamp>,
    /// Usage events of this start that the control plane has not acknowledged.
    pub(crate) unacknowledged_live: u64,
    /// The same of earlier starts.
    pub(crate) unacknowledged_ended: u64,
    /// Spools whose events the control plane will not take, and that wait for a person.
    pub(crate) stopped_spools: u64,
}

impl State {
    /// Usage events on this disk that the control plane has not acknowledged.
    pub(crate) fn unacknowledged_events(&self) -> u64 {
        self.unacknowledged_live.saturating_add(self.unacknowledged_ended)
    }

    /// Days until the certificate ends; negative when it has.
    pub(crate) fn certificate_days(&self, now: Timestamp) -> Option<f64> {
        self.certificate_ends.map(|ends| ends.duration_since(now).as_secs_f64() / SECONDS_PER_DAY)
    }
}

impl Standing {
    pub(crate) fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock());
    }

    pub(crate) fn look(&self) -> State {
        self.0.lock().clone()
    }
}
