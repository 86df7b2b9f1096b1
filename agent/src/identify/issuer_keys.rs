//! What is known of one issuer: read by all cores without a lock, renewed by one task (`renew`).

use super::{demand_budget::DemandBudget, did::DocumentFault, excerpt::Excerpt, key_set::KeySet, pace::Pace};
use arc_swap::ArcSwap;
use attach_issuer::ask::AskFault;
use attach_proto::{
    bundle::IdentityProvider,
    did::{Did, Method},
};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use url::Url;

/// Where keys come from. Providers of different tenants that name the same source share its keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// As configured.
    pub(super) issuer: String,
    pub(super) jwks_url: Option<Url>,
    /// The keys themselves, which nobody is asked for then.
    pub(super) jwks: Option<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct IssuerKeys {
    pub(super) source: Source,
    pub(super) pace: Pace,
    state: ArcSwap<State>,
    gate: Mutex<Gate>,
    budget: Arc<DemandBudget>,
    /// Wakes the renewing task before its time.
    demand: Notify,
    /// Counts the finished attempts.
    finished: watch::Sender<u64>,
}

/// Replaced whole after each attempt.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) held: Option<Arc<Held>>,
    /// Of the last attempt.
    pub(super) failure: Option<Arc<RenewFault>>,
    pub(super) next_attempt: Instant,
    pub(super) attempts: Attempts,
}

/// How often an issuer was asked, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attempts {
    pub(crate) good: u64,
    pub(crate) failed: u64,
}

/// The last good answer of an issuer.
#[derive(Debug)]
pub(super) struct Held {
    /// What tokens must have as `iss`, character for character.
    pub(super) issuer: String,
    pub(super) keys: KeySet,
    /// `None` for keys that came with the bundle: they are good for as long as it is.
    pub(super) fetched: Option<Fetched>,
    /// Changes when the keys or the issuer's form change, and only then.
    pub(super) generation: u64,
}

/// Where keys were fetched, and when.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) from: Url,
    pub(super) at: Timestamp,
}

#[derive(Debug, Error)]
pub(crate) enum RenewFault {
    #[error("the first fetch has not ended yet")]
    NotYetFetched,
    #[error(transparent)]
    Ask(#[from] AskFault),
    #[error("the document at {address}: {fault}")]
    Document { address: Excerpt, fault: DocumentFault },
}

/// How a wish for newer keys ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// An attempt ended since; whether it succeeded is in the state.
    Attempted,
    /// As well, but it had begun before: the issuer may have answered before it had the key.
    Joined,
    /// The issuer was asked a moment ago: what is held is what it has.
    CoolingDown,
    /// Too many look-ups for all issuers together.
    OverBudget,
    TimedOut,
}

#[derive(Debug)]
struct Gate {
    in_flight: bool,
    last_demand: Option<Instant>,
    /// Whether other keys came since.
    has_changed: bool,
}

impl Source {
    /// `None` for a DID that has no document.
    pub(super) fn of_did(did: &Did) -> Option<Self> {
        match did.method() {
            Method::Web(document) => {
                Some(Self { issuer: did.as_str().to_owned(), jwks_url: Some(document.clone()), jwks: None })
            }
            Method::Key(_) | Method::Pkh(_) => None,
        }
    }

    /// Whether its keys stand in a DID document, and not in a key set.
    pub(super) fn is_did(&self) -> bool {
        self.issuer.starts_with("did:")
    }

    pub(super) fn of(provider: &IdentityProvider) -> Self {
        Self {
            issuer: provider.issuer.clone(),
            jwks_url: provider.jwks_url.clone(),
            jwks: provider.jwks.clone(),
        }
    }
}

impl Held {
    /// The end of a set that cannot be renewed. A wall clock, because it also holds across restarts.
    fn is_usable(&self, now: Timestamp, max_stale: Duration) -> bool {
        self.fetched.as_ref().is_none_or(|fetched| {
            Duration::try_from(now.duration_since(fetched.at)).is_ok_and(|age| age < max_stale)
                || now < fetched.at
        })
    }
}

impl IssuerKeys {
    /// Starts with what an earlier process left, if anything. The first attempt counts as under way already, so
    /// that requests wait for it.
    pub(super) fn new(source: Source, held: Option<Held>, pace: Pace, budget: Arc<DemandBudget>) -> Self {
        let failure = Some(Arc::new(RenewFault::NotYetFetched));
        let attempts = Attempts::default();
        let state = State { held: held.map(Arc::new), failure, next_attempt: Instant::now(), attempts };
        Self {
            source,
            pace,
            state: ArcSwap::from_pointee(state),
            gate: Mutex::new(Gate { in_flight: true, last_demand: None, has_changed: false }),
            budget,
            demand: Notify::new(),
            finished: watch::Sender::new(0),
        }
    }

    /// With keys that came with the bundle: nothing is ever fetched, and what is not among them does not exist.
    pub(super) fn given(source: Source, keys: KeySet, pace: Pace, budget: Arc<DemandBudget>) -> Self {
        let held = Held { issuer: source.issuer.clone(), keys, fetched: None, generation: 1 };
        let state = State {
            held: Some(Arc::new(held)),
            failure: None,
            next_attempt: Instant::now(),
            attempts: Attempts::default(),
        };
        Self {
            source,
            pace,
            state: ArcSwap::from_pointee(state),
            gate: Mutex::new(Gate { in_flight: false, last_demand: None, has_changed: false }),
            budget,
            demand: Notify::new(),
            finished: watch::Sender::new(0),
        }
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The last good answer, unless it is older than the longest time that we go without a new one.
    pub(super) fn held(&self, now: Timestamp) -> Option<Arc<Held>> {
        self.state.load().held.as_ref().filter(|held| held.is_usable(now, self.pace.max_stale)).cloned()
    }

    /// Whether what was verified with this generation would verify again. Allocates nothing.
    pub(super) fn is_current(&self, generation: u64, now: Timestamp) -> bool {
        let state = self.state.load();
        let held = state.held.as_ref();
        held.is_some_and(|held| held.generation == generation && held.is_usable(now, self.pace.max_stale))
    }

    /// Asks for newer keys and waits for them, within what the pace allows. Callers share one attempt, and one that
    /// goes away does not end it.
    pub(super) async fn renewed(&self) -> Renewal {
        // Subscribed before the gate is read: an attempt that ends in between is then seen.
        let mut finished = self.finished.subscribe();
        let renewal = self.pass_gate();
        if !matches!(renewal, Renewal::Attempted | Renewal::Joined) {
            return renewal;
        }
        match timeout(self.pace.patience, finished.changed()).await {
            Ok(_) => renewal,
            Err(_elapsed) => Renewal::TimedOut,
        }
    }

    pub(super) async fn demanded(&self) {
        self.demand.notified().await;
    }

    pub(super) fn begin_attempt(&self) {
        self.gate.lock().in_flight = true;
    }

    pub(super) fn end_attempt(&self, state: State) {
        let generation = |state: &State| state.held.as_ref().map(|held| held.generation);
        let has_changed = generation(&state) != generation(&self.state.load());
        self.state.store(Arc::new(state));
        {
            let mut gate = self.gate.lock();
            gate.in_flight = false;
            gate.has_changed |= has_changed;
        }
        self.finished.send_modify(|attempts| *attempts += 1);
    }

    /// Which attempt to wait for, if any.
    fn pass_gate(&self) -> Renewal {
        if self.source.jwks.is_some() {
            return Renewal::CoolingDown;
        }
        let mut gate = self.gate.lock();
        if gate.in_flight {
            return Renewal::Joined;
        }
        let now = Instant::now();
        let pause = if gate.has_changed { self.pace.cool_down_after_change } else { self.pace.cool_down };
        if gate.last_demand.is_some_and(|last| now.duration_since(last) < pause) {
            return Renewal::CoolingDown;
        }
        if !self.budget.take(now) {
            return Renewal::OverBudget;
        }
        *gate = Gate { in_flight: true, last_demand: Some(now), has_changed: false };
        self.demand.notify_one();
        Renewal::Attempted
    }
}
