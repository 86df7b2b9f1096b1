//! The quota store: the one authority for a tenant's limits.
//!
//! Check and reserve of all limits of a request is one atomic step, on the store's own time. Tokens are first
//! reserved, then extended while a stream runs, then settled to what was consumed; what is neither settled nor
//! renewed lapses after [`RESERVATION_LIFE`].

use super::{
    counter::{Counter, MAX_COUNT, needed},
    local::LocalStore,
    redis::RedisStore,
};
use attach_proto::{
    bundle::Measure,
    id::{LimitId, TenantId},
};
use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How long a reservation lives on the store's clock without being renewed, and a tombstone after a settlement. Three
/// renewals long, so that two may be lost; short enough that a dead agent's share is back after a minute.
pub(crate) const RESERVATION_LIFE: Duration = Duration::from_secs(60);

/// How often whoever holds a reservation renews it.
pub(crate) const RENEWAL_INTERVAL: Duration = Duration::from_secs(20);

/// What a request asks of its tenant's limits.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Of the request, and so of its reservation. An id is never used again.
    pub(crate) id: Uuid,
    pub(crate) tenant: TenantId,
    pub(crate) limits: Vec<Applied>,
    /// Tokens.
    pub(crate) input: u64,
    pub(crate) output: OutputAsk,
}

/// Tokens of output. The grant is the largest amount in this range that fits all token limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutputAsk {
    /// Less than this is a refusal.
    pub(crate) at_least: u64,
    pub(crate) at_most: u64,
}

/// A limit as it applies to one request: for this caller, with this model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) limit: LimitId,
    /// Names the counter, uniquely within the tenant; any characters. No two limits of a request share one.
    pub(crate) counter_key: String,
    pub(crate) measure: Measure,
    /// Sliding; at least a millisecond.
    pub(crate) window: Duration,
    pub(crate) amount: u64,
}

#[derive(Debug)]
pub(crate) enum Admission {
    Admitted(Admitted),
    Refused(Reached),
}

#[derive(Debug)]
pub(crate) struct Admitted {
    /// Tokens of output that the request may make before it must extend.
    pub(crate) output: u64,
    pub(crate) reservation: Reservation,
    /// In the order of the limits asked.
    pub(crate) standing: Vec<Standing>,
}

/// Where a limit stands right after a request was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: LimitId,
    pub(crate) measure: Measure,
    pub(crate) amount: u64,
    /// Neither used nor reserved.
    pub(crate) remaining: u64,
    /// Until the whole amount is there again, if nothing else happens.
    pub(crate) resets_in: Duration,
}

/// The limit that refused a request. If several did, the one that will for longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) limit: LimitId,
    pub(crate) measure: Measure,
    pub(crate) amount: u64,
    pub(crate) window: Duration,
    pub(crate) used: u64,
    pub(crate) reserved: u64,
    /// When the same ask would fit if nothing else happened: `None` when it asks for more than the whole limit.
    /// Where running requests hold what is missing it is the longest that they can without being renewed.
    pub(crate) retry_after: Option<Duration>,
}

/// What an admitted request holds of its limits. It is given back by [`QuotaStore::settle`], and a copy of it
/// keeps it alive by [`QuotaStore::renew`].
#[derive(Debug, Clone)]
pub(crate) struct Reservation {
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
    pub(super) limits: Arc<[Applied]>,
    pub(super) input: u64,
    pub(super) output: u64,
}

/// The end of a reservation. `Consumed::default()` gives all tokens back.
#[derive(Debug, Clone)]
pub(crate) struct Settlement {
    pub(crate) reservation: Reservation,
    pub(crate) actual: Consumed,
}

/// Tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Consumed {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// Why a store gave no answer. None of these says anything about the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreFault {
    #[error("the quota store cannot be reached")]
    Unavailable,
    #[error("the connection to the quota store broke before it answered")]
    ConnectionLost,
    #[error("the quota store did not answer within its call budget")]
    TimedOut,
    #[error("the quota store was not asked, because it did not answer before")]
    BreakerOpen,
    #[error("the quota store answered with an error")]
    Misbehaved,
    #[error("the quota store counts as much as it can hold")]
    Full,
    #[error("the request was settled or released before it was admitted")]
    Released,
}

impl StoreFault {
    /// Whether the store may have carried out, or may yet carry out, what it was asked.
    pub(super) fn may_have_been_done(self) -> bool {
        match self {
            Self::TimedOut | Self::ConnectionLost => true,
            Self::Unavailable | Self::BreakerOpen | Self::Misbehaved | Self::Full | Self::Released => false,
        }
    }
}

/// One handle of a core. All operations are idempotent by the id of the reservation.
#[derive(Debug, Clone)]
pub(crate) enum QuotaStore {
    Local(Arc<LocalStore>),
    Redis(Rc<RedisStore>),
}

impl QuotaStore {
    /// Checks and reserves all limits in one step, or none. A request is charged here and not given back, tokens are
    /// held until they are settled.
    ///
    /// When the future is dropped or the answer is lost, the admission is released.
    pub(crate) async fn admit(&self, ask: Ask) -> Result<Admission, StoreFault> {
        let ask = ask.in_range();
        if ask.limits.is_empty() {
            let output = ask.output.at_most;
            let reservation = ask.reserving(output);
            return Ok(Admission::Admitted(Admitted { output, reservation, standing: Vec::new() }));
        }
        match self {
            Self::Local(store) => store.admit(ask),
            // Boxed: it would make each request's future larger, also of those with a store in memory.
            Self::Redis(store) => Box::pin(store.admit(ask)).await,
        }
    }

    /// Reserves `more_output` tokens on top, in all limits or in none: whether it did. After a fault the reservation
    /// is as before, and to try again is harmless.
    pub(crate) async fn extend(
        &self,
        reservation: &mut Reservation,
        more_output: u64,
    ) -> Result<bool, StoreFault> {
        let output = reservation.output.saturating_add(more_output).min(MAX_COUNT);
        let extended = if reservation.limits.is_empty() {
            true
        } else {
            match self {
                Self::Local(store) => store.extend(reservation, output)?,
                Self::Redis(store) => store.extend(reservation, output).await?,
            }
        };
        if extended {
            reservation.output = output;
        }
        Ok(extended)
    }

    /// Turns reservations into what was consumed, also where that is more than was reserved. What cannot be delivered
    /// now is kept and delivered by [`QuotaStore::run`], within bounds.
    pub(crate) async fn settle(&self, batch: Vec<Settlement>) {
        let mut batch = batch;
        batch.retain(|settlement| !settlement.reservation.limits.is_empty());
        match self {
            Self::Local(store) => batch.iter().for_each(|settlement| store.settle(settlement)),
            Self::Redis(store) => store.settle(batch).await,
        }
    }

    /// Keeps reservations alive; due every [`RENEWAL_INTERVAL`]. A fault is left to the next round.
    pub(crate) async fn renew(&self, live: &[Reservation]) {
        match self {
            Self::Local(store) => live.iter().for_each(|reservation| store.renew(reservation)),
            Self::Redis(store) => store.renew(live).await,
        }
    }

    /// Undoes an admission of which nobody knows whether it was carried out, its request too. It leaves a
    /// tombstone: an admission with this id that arrives later is refused.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a Redis store releases what it lost by itself; tests ask for it")
    )]
    pub(crate) async fn release(&self, tenant: &TenantId, id: Uuid) {
        match self {
            Self::Local(store) => store.release(tenant, id),
            Self::Redis(store) => store.release(tenant, id).await,
        }
    }

    /// The store's own upkeep: connects, delivers what was left undone, forgets idle counters. Each core runs it beside
    /// its requests, for as long as it lives; without it a Redis is never connected.
    pub(crate) async fn run(&self) {
        match self {
            Self::Local(store) => store.run().await,
            Self::Redis(store) => store.run().await,
        }
    }
}

impl Ask {
    fn in_range(mut self) -> Self {
        self.input = self.input.min(MAX_COUNT);
        self.output.at_least = self.output.at_least.min(MAX_COUNT);
        self.output.at_most = self.output.at_most.min(MAX_COUNT).max(self.output.at_least);
        for applied in &mut self.limits {
            applied.amount = applied.amount.min(MAX_COUNT);
        }
        self
    }

    pub(super) fn reserving(self, output: u64) -> Reservation {
        let Self { id, tenant, limits, input, output: _ } = self;
        Reservation { id, tenant, limits: limits.into(), input, output }
    }
}

impl Admission {
    /// What the counters say after the store decided: `grant` is the output, or `None` when it refused.
    pub(super) fn new(
        ask: Ask,
        grant: Option<u64>,
        counters: &[Counter],
        now: u64,
    ) -> Result<Self, StoreFault> {
        let limits = || ask.limits.iter().zip(counters);
        if let Some(output) = grant {
            let standing = limits().map(|(applied, counter)| Standing::new(applied, counter, now)).collect();
            let reservation = ask.reserving(output);
            return Ok(Self::Admitted(Admitted { output, reservation, standing }));
        }
        limits()
            .map(|(applied, counter)| {
                Reached::new(applied, counter, needed(applied.measure, ask.input, ask.output.at_least), now)
            })
            // `None`, for ever, is the longest.
            .max_by_key(|reached| reached.retry_after.unwrap_or(Duration::MAX))
            .map(Self::Refused)
            .ok_or(StoreFault::Misbehaved)
    }
}

impl Standing {
    fn new(applied: &Applied, counter: &Counter, now: u64) -> Self {
        let window = millis(applied.window);
        Self {
            limit: applied.limit.clone(),
            measure: applied.measure,
            amount: applied.amount,
            remaining: counter.available(now, window, applied.amount),
            resets_in: counter.resets_in(now, window),
        }
    }
}

impl Reached {
    fn new(applied: &Applied, counter: &Counter, need: u64, now: u64) -> Self {
        let window = millis(applied.window);
        Self {
            limit: applied.limit.clone(),
            measure: applied.measure,
            amount: applied.amount,
            window: applied.window,
            used: counter.used(now, window),
            reserved: counter.reserved,
            retry_after: counter.wait(now, window, applied.amount, need),
        }
    }
}

impl Reservation {
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// What its limits count.
    pub(crate) fn measures(&self) -> impl Iterator<Item = Measure> {
        self.limits.iter().map(|applied| applied.measure)
    }

    /// Tokens of output that are reserved by now.
    pub(crate) fn output(&self) -> u64 {
        self.output
    }
}

/// Where a store's time comes from.
#[derive(Debug, Clone)]
pub(crate) enum StoreClock {
    /// The process's monotonic clock for the local store, the server's `TIME` for a Redis.
    Own,
    /// Milliseconds, moved by whoever holds the other end.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests move time"))]
    Manual(Arc<AtomicU64>),
}

impl StoreClock {
    /// Milliseconds since `started`, or what the holder of a manual clock says.
    pub(super) fn since(&self, started: Instant) -> u64 {
        self.manual().unwrap_or_else(|| millis(started.elapsed()))
    }

    pub(super) fn manual(&self) -> Option<u64> {
        match self {
            Self::Own => None,
            Self::Manual(milliseconds) => Some(milliseconds.load(Ordering::Relaxed)),
        }
    }
}

/// Whole milliseconds, at least one: windows divide by it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_COUNT)
}
