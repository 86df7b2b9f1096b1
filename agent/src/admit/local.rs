//! The quota store in the memory of one process, for a tenant that only this process serves.
//!
//! It means what the scripts of the Redis store mean; one suite of tests holds both to it.

use super::{
    accounts::Accounts,
    counter::{Counter, grant, held},
    store::{Admission, Applied, Ask, Reservation, Settlement, StoreClock, StoreFault, millis},
};
use attach_proto::{bundle::Measure, id::TenantId};
use foldhash::HashMap;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Counters in all: 50 MB at about 200 bytes each. 100,000 callers with two limits each fit. Beyond it the store
/// refuses new counters rather than forget old ones.
const MAX_COUNTERS: usize = 262_144;

/// Live reservations of a tenant: far more streams than one host carries, 10 MB.
const MAX_LIVE: usize = 65_536;

/// More shards than an agent has busy tenants at a time, so that two of them rarely meet on one lock.
const SHARDS: usize = 16;

/// Entries of lapsed reservations, and of tombstones, that one admission or extension cleans up. Each of them adds one,
/// so the cleaning keeps pace; [`LocalStore::run`] does the rest.
const RECLAIMED_PER_ADMIT: usize = 4;

/// How often the store looks for idle counters, and how many it looks at in each shard:
/// all of [`MAX_COUNTERS`] within a quarter of a minute, each lock held for less than a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const SWEPT_PER_SHARD: usize = 1024;

#[derive(Debug)]
pub(crate) struct LocalStore {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    counters: AtomicUsize,
    max_counters: usize,
    clock: StoreClock,
    started: Instant,
}

#[derive(Debug, Default)]
struct Shard {
    tenants: HashMap<TenantId, Accounts>,
    /// Each counter once, in the order in which they are looked at for being idle.
    rounds: VecDeque<(TenantId, Arc<str>)>,
}

impl LocalStore {
    pub(crate) fn new(clock: StoreClock) -> Arc<Self> {
        Self::with_room_for(MAX_COUNTERS, clock)
    }

    pub(super) fn with_room_for(max_counters: usize, clock: StoreClock) -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            counters: AtomicUsize::new(0),
            max_counters,
            clock,
            started: Instant::now(),
        })
    }

    pub(super) fn admit(&self, ask: Ask) -> Result<Admission, StoreFault> {
        let now = self.now();
        let (at_least, at_most) = (ask.output.at_least, ask.output.at_most);
        let mut shard = self.shard(&ask.tenant).lock();
        let Shard { tenants, rounds } = &mut *shard;
        let accounts = accounts(tenants, &ask.tenant);
        accounts.reclaim(now, RECLAIMED_PER_ADMIT);
        if accounts.tombstones.contains(&ask.id) {
            return Err(StoreFault::Released);
        }
        let mut new = 0;
        let mut counters: Vec<Counter> = Vec::with_capacity(ask.limits.len());
        for applied in &ask.limits {
            counters.push(accounts.counter(applied, now).unwrap_or_else(|| {
                new += 1;
                reserving(0, applied, now)
            }));
        }
        if let Some(holding) = accounts.live.get(&ask.id) {
            let granted = Some(holding.output);
            return Admission::new(ask, granted, &counters, now);
        }
        let granted = grant(ask.limits.iter().zip(&counters), now, ask.input, at_least, at_most);
        let Some(output) = granted else {
            return Admission::new(ask, None, &counters, now);
        };
        if accounts.live.len() >= MAX_LIVE || !self.reserve_room(new) {
            return Err(StoreFault::Full);
        }
        for (applied, counter) in ask.limits.iter().zip(&mut counters) {
            match applied.measure {
                Measure::Requests => counter.charge(1),
                measure @ (Measure::InputTokens | Measure::OutputTokens | Measure::TotalTokens) => {
                    counter.reserved += held(measure, ask.input, output);
                }
            }
            accounts.keep(&ask.tenant, rounds, applied, *counter);
        }
        let admission = Admission::new(ask, granted, &counters, now)?;
        if let Admission::Admitted(admitted) = &admission {
            accounts.hold(&admitted.reservation, output, Some(now), now);
        }
        Ok(admission)
    }

    /// Raises the reserved output to a total.
    pub(super) fn extend(&self, reservation: &Reservation, output: u64) -> Result<bool, StoreFault> {
        let now = self.now();
        let mut shard = self.shard(&reservation.tenant).lock();
        let Shard { tenants, rounds } = &mut *shard;
        let accounts = accounts(tenants, &reservation.tenant);
        accounts.reclaim(now, RECLAIMED_PER_ADMIT);
        if accounts.tombstones.contains(&reservation.id) {
            return Ok(false);
        }
        let known = accounts.live.get(&reservation.id).map(|holding| holding.output);
        let more_input = if known.is_some() { 0 } else { reservation.input };
        let more_output = output.saturating_sub(known.unwrap_or(0));
        let more = |applied: &Applied| held(applied.measure, more_input, more_output);
        let mut new = 0;
        for applied in reservation.limits.iter() {
            let counter = accounts.counter(applied, now).unwrap_or_else(|| {
                new += 1;
                reserving(0, applied, now)
            });
            let more = more(applied);
            if more > 0 && more > counter.available(now, millis(applied.window), applied.amount) {
                return Ok(false);
            }
        }
        if !self.reserve_room(new) {
            return Err(StoreFault::Full);
        }
        for applied in reservation.limits.iter() {
            match accounts.counter_mut(applied, now) {
                Some(counter) => counter.reserved += more(applied),
                None => accounts.keep(
                    &reservation.tenant,
                    rounds,
                    applied,
                    reserving(more(applied), applied, now),
                ),
            }
        }
        accounts.hold(reservation, output.max(known.unwrap_or(0)), None, now);
        Ok(true)
    }

    pub(super) fn settle(&self, settlement: &Settlement) {
        let Settlement { reservation, actual } = settlement;
        let now = self.now();
        let mut shard = self.shard(&reservation.tenant).lock();
        let Shard { tenants, rounds } = &mut *shard;
        let accounts = accounts(tenants, &reservation.tenant);
        if !accounts.bury(reservation.id, now) {
            return;
        }
        let holding = accounts.live.remove(&reservation.id);
        for applied in reservation.limits.iter() {
            let charge = held(applied.measure, actual.input, actual.output);
            if let Some(counter) = accounts.counter_mut(applied, now) {
                let back = holding.as_ref().map(|of| held(applied.measure, of.input, of.output));
                counter.give_back(back.unwrap_or(0));
                counter.charge(charge);
            } else if charge > 0 && self.reserve_room(1) {
                // Without room the charge is lost, but only from a window that had no other use of this counter.
                let mut counter = reserving(0, applied, now);
                counter.charge(charge);
                accounts.keep(&reservation.tenant, rounds, applied, counter);
            }
        }
    }

    pub(super) fn renew(&self, reservation: &Reservation) {
        let now = self.now();
        let mut shard = self.shard(&reservation.tenant).lock();
        let Shard { tenants, rounds } = &mut *shard;
        let accounts = accounts(tenants, &reservation.tenant);
        if accounts.tombstones.contains(&reservation.id) {
            return;
        }
        if let Some(output) = accounts.live.get(&reservation.id).map(|holding| holding.output) {
            accounts.hold(reservation, output, None, now);
            return;
        }
        // It lapsed. Its tokens are being made all the same, so it is held again without asking whether it fits.
        for applied in reservation.limits.iter() {
            let held = held(applied.measure, reservation.input, reservation.output);
            if let Some(counter) = accounts.counter_mut(applied, now) {
                counter.reserved += held;
            } else if held > 0 && self.reserve_room(1) {
                accounts.keep(&reservation.tenant, rounds, applied, reserving(held, applied, now));
            }
        }
        accounts.hold(reservation, reservation.output, None, now);
    }

    pub(super) fn release(&self, tenant: &TenantId, id: Uuid) {
        let now = self.now();
        let mut shard = self.shard(tenant).lock();
        let accounts = accounts(&mut shard.tenants, tenant);
        if !accounts.bury(id, now) {
            return;
        }
        let Some(holding) = accounts.live.remove(&id) else { return };
        accounts.undo(&holding, now);
    }

    /// Forgets idle counters, which no request waits for, and what is left of tenants that no longer ask.
    pub(super) async fn run(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.sweep_all();
        }
    }

    pub(super) fn sweep_all(&self) {
        let now = self.now();
        for shard in &self.shards {
            let mut shard = shard.lock();
            self.sweep(&mut shard, now, SWEPT_PER_SHARD);
            shard.tenants.retain(|_, accounts| {
                accounts.reclaim(now, SWEPT_PER_SHARD);
                !accounts.is_empty()
            });
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counters.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        self.clock.since(self.started)
    }

    fn shard(&self, tenant: &TenantId) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(tenant);
        // The remainder is below SHARDS, the length of the array.
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }

    /// Whether this many new counters have a place.
    fn reserve_room(&self, counters: usize) -> bool {
        let count = self.counters.fetch_add(counters, Ordering::Relaxed) + counters;
        let fits = counters == 0 || count <= self.max_counters;
        if !fits {
            self.counters.fetch_sub(counters, Ordering::Relaxed);
        }
        fits
    }

    /// Looks at the next few counters of the round, and forgets those that say nothing any more.
    fn sweep(&self, shard: &mut Shard, now: u64, count: usize) {
        let Shard { tenants, rounds } = shard;
        for _ in 0..count.min(rounds.len()) {
            let Some((tenant, key)) = rounds.pop_front() else { return };
            // Each counter has exactly one place in the rounds, and its tenant stays as long as it does.
            let Some(accounts) = tenants.get_mut(&tenant) else { continue };
            let Some(kept) = accounts.counters.get(&key) else { continue };
            if !kept.counter.opened(now, kept.window).is_empty() {
                rounds.push_back((tenant, key));
                continue;
            }
            accounts.counters.remove(&key);
            self.counters.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A new counter.
fn reserving(reserved: u64, applied: &Applied, now: u64) -> Counter {
    Counter { reserved, ..Counter::default().opened(now, millis(applied.window)) }
}

fn accounts<'a>(tenants: &'a mut HashMap<TenantId, Accounts>, tenant: &TenantId) -> &'a mut Accounts {
    tenants.entry(tenant.clone()).or_default()
}
