//! How things stand with the listener's certificate, for whoever asks.

use super::pair::Pair;
use crate::validity::Validity;
use parking_lot::Mutex;

#[derive(Debug, Default)]
pub(crate) struct TlsStanding(Mutex<TlsState>);

#[derive(Debug, Clone, Default)]
pub(crate) struct TlsState {
    /// Of the certificate that is served; `None` while there is none yet.
    pub(crate) validity: Option<Validity>,
    pub(crate) names: Vec<String>,
    /// Why the newest certificate is not the one that is served, or none can be had.
    pub(crate) problem: Option<String>,
    /// Why the newest authority for callers' certificates is not the one that counts.
    pub(crate) client_authority_problem: Option<String>,
    /// Certificates that took effect, the first included.
    pub(crate) changes: u64,
    /// Tries that brought none.
    pub(crate) failures: u64,
}

impl TlsStanding {
    pub(crate) fn look(&self) -> TlsState {
        self.0.lock().clone()
    }

    pub(super) fn serves(&self, pair: &Pair) {
        let mut state = self.0.lock();
        state.validity = Some(pair.validity);
        state.names.clone_from(&pair.names);
        state.problem = None;
        state.changes += 1;
    }

    pub(super) fn failed(&self, problem: String) {
        let mut state = self.0.lock();
        state.problem = Some(problem);
        state.failures += 1;
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut TlsState)) {
        change(&mut self.0.lock());
    }
}
