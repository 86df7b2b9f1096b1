//! What is known of one issuer: read by all cores without a lock, renewed by one task (`renew`).

use super::{
    demand_budget::DemandBudget, did::DocumentFault, excerpt::Excerpt, key_set::KeySet, pace::Pace,
    source::Source,
};
use arc_swap::ArcSwap;
use attach_issuer::ask::AskFault;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use url::Url;

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
    #[error("the control plane, which fetches its keys, has none that it could go by")]
    NotSent,
    #[error("the control plane, which fetches its keys, is away")]
    ControlPlaneAway,
    #[error("the control plane, which fetches its keys, did not answer within {0:?}")]
    ControlPlaneSilent(Duration),
    #[error("the control plane could not fetch its keys: {0}")]
    ControlPlane(Excerpt),
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
    /// What the control plane sent last; `None` when that was nothing.
    received: Option<Arc<str>>,
    /// The highest so far: one that is gone does not come back.
    generation: u64,
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
        Self::begin(source, held, Some(RenewFault::NotYetFetched), pace, budget)
    }

    /// With keys that came with the bundle: nothing is ever fetched, and what is not among them does not exist.
    pub(super) fn given(source: Source, keys: KeySet, pace: Pace, budget: Arc<DemandBudget>) -> Self {
        let held = Held { issuer: source.issuer.clone(), keys, fetched: None, generation: 1 };
        let given = Self::begin(source, Some(held), None, pace, budget);
        given.gate.lock().in_flight = false;
        given
    }

    /// With keys that the control plane sends; none yet.
    pub(super) fn pushed(source: Source, pace: Pace, budget: Arc<DemandBudget>) -> Self {
        let pushed = Self::begin(source, None, Some(RenewFault::NotSent), pace, budget);
        pushed.gate.lock().in_flight = false;
        pushed
    }

    fn begin(
        source: Source,
        held: Option<Held>,
        failure: Option<RenewFault>,
        pace: Pace,
        budget: Arc<DemandBudget>,
    ) -> Self {
        let state = State {
            held: held.map(Arc::new),
            failure: failure.map(Arc::new),
            next_attempt: Instant::now(),
            attempts: Attempts::default(),
        };
        let gate =
            Gate { in_flight: true, last_demand: None, has_changed: false, received: None, generation: 0 };
        Self {
            source,
            pace,
            state: ArcSwap::from_pointee(state),
            gate: Mutex::new(gate),
            budget,
            demand: Notify::new(),
            finished: watch::Sender::new(0),
        }
    }

    /// Takes what the control plane sent with its bundle, whose keys were checked; whoever waits for a key looks again.
    pub(super) fn receive(&self, jwks: Option<&Arc<str>>) {
        let mut gate = self.gate.lock();
        if gate.received.as_ref() == jwks {
            return;
        }
        gate.received = jwks.cloned();
        let keys = jwks.and_then(|jwks| KeySet::parse(jwks.as_bytes()).ok());
        let before = self.state();
        let state = match (keys, &before.held) {
            (Some(keys), Some(held)) if held.keys.same_as(&keys) => return,
            (Some(keys), _) => {
                gate.generation += 1;
                gate.has_changed = true;
                let issuer = self.source.issuer.clone();
                let held = Held { issuer, keys, fetched: None, generation: gate.generation };
                State { held: Some(Arc::new(held)), failure: None, ..State::clone(&before) }
            }
            (None, _) => {
                let failure = Some(Arc::new(RenewFault::NotSent));
                State { held: None, failure, ..State::clone(&before) }
            }
        };
        self.state.store(Arc::new(state));
        drop(gate);
        self.finished.send_modify(|attempts| *attempts += 1);
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

    /// An attempt that nobody wished, in the place of one that somebody could.
    pub(super) fn begin_demand(&self) {
        let mut gate = self.gate.lock();
        gate.in_flight = true;
        gate.last_demand = Some(Instant::now());
    }

    /// The control plane has answered, or has not. What it sent meanwhile is held already.
    pub(super) fn end_question(&self, failure: Option<RenewFault>, next_attempt: Instant) {
        let mut gate = self.gate.lock();
        let before = self.state();
        let Attempts { good, failed } = before.attempts;
        let attempts = match failure {
            None => Attempts { good: good + 1, failed },
            Some(_) => Attempts { good, failed: failed + 1 },
        };
        // Without keys the answer alone is no reason to say that the token's does not exist.
        let failure = failure.or_else(|| before.held.is_none().then_some(RenewFault::NotSent)).map(Arc::new);
        self.state.store(Arc::new(State { held: before.held.clone(), failure, next_attempt, attempts }));
        gate.in_flight = false;
        drop(gate);
        self.finished.send_modify(|attempts| *attempts += 1);
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
        gate.in_flight = true;
        gate.last_demand = Some(now);
        gate.has_changed = false;
        self.demand.notify_one();
        Renewal::Attempted
    }
}
