//! All that one tenant has in the memory of a local store: its counters, reservations and tombstones.

use super::{
    counter::{Counter, held},
    store::{Applied, RESERVATION_LIFE, Reservation, millis},
};
use attach_proto::{bundle::Measure, id::TenantId};
use foldhash::{HashMap, HashSet};
use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::Arc,
};
use uuid::Uuid;

/// Settled ids of a tenant that are remembered: 400 KB, which stay in a core's own cache. No call to this store is ever
/// late, so the memory only guards against a caller who settles twice, which happens at once or not at all.
const MAX_TOMBSTONES: usize = 8_192;

/// Entries of lapses that say nothing any more, kept beside those that do before they are let go. Each would go by itself
/// after a minute, in which a busy tenant makes a million of them.
const MAX_STALE_LAPSES: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) counters: HashMap<Arc<str>, Kept>,
    pub(super) live: HashMap<Uuid, Holding>,
    /// By time. An entry of a reservation that was renewed or settled since says nothing.
    lapses: VecDeque<(u64, Uuid)>,
    pub(super) tombstones: HashSet<Uuid>,
    forgets: VecDeque<(u64, Uuid)>,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) counter: Counter,
    pub(super) window: u64,
}

#[derive(Debug)]
pub(super) struct Holding {
    limits: Arc<[Applied]>,
    pub(super) input: u64,
    pub(super) output: u64,
    /// When its requests were charged; not known of one that had lapsed and was brought back.
    admitted_at: Option<u64>,
    lapses_at: u64,
}

impl Accounts {
    pub(super) fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.live.is_empty() && self.tombstones.is_empty()
    }

    /// A limit's counter as of now, if there is one.
    pub(super) fn counter(&self, applied: &Applied, now: u64) -> Option<Counter> {
        let kept = self.counters.get(applied.counter_key.as_str())?;
        Some(kept.counter.opened(now, millis(applied.window)))
    }

    /// The same to be changed.
    pub(super) fn counter_mut(&mut self, applied: &Applied, now: u64) -> Option<&mut Counter> {
        let kept = self.counters.get_mut(applied.counter_key.as_str())?;
        kept.window = millis(applied.window);
        kept.counter = kept.counter.opened(now, kept.window);
        Some(&mut kept.counter)
    }

    /// Room for a new counter was reserved before.
    pub(super) fn keep(
        &mut self,
        tenant: &TenantId,
        rounds: &mut VecDeque<(TenantId, Arc<str>)>,
        applied: &Applied,
        counter: Counter,
    ) {
        let window = millis(applied.window);
        if let Some(kept) = self.counters.get_mut(applied.counter_key.as_str()) {
            *kept = Kept { counter, window };
            return;
        }
        let key: Arc<str> = applied.counter_key.as_str().into();
        rounds.push_back((tenant.clone(), Arc::clone(&key)));
        self.counters.insert(key, Kept { counter, window });
    }

    /// Begins to hold, or holds on for another life.
    pub(super) fn hold(
        &mut self,
        reservation: &Reservation,
        output: u64,
        admitted_at: Option<u64>,
        now: u64,
    ) {
        let lapses_at = now + millis(RESERVATION_LIFE);
        if self.lapses.len() > 2 * self.live.len() + MAX_STALE_LAPSES {
            let Self { lapses, live, .. } = self;
            lapses.retain(|(at, id)| live.get(id).is_some_and(|holding| holding.lapses_at == *at));
        }
        self.lapses.push_back((lapses_at, reservation.id));
        match self.live.entry(reservation.id) {
            Entry::Occupied(mut holding) => {
                holding.get_mut().output = output;
                holding.get_mut().lapses_at = lapses_at;
            }
            Entry::Vacant(free) => {
                free.insert(Holding {
                    limits: Arc::clone(&reservation.limits),
                    input: reservation.input,
                    output,
                    admitted_at,
                    lapses_at,
                });
            }
        }
    }

    /// Leaves a tombstone: whether there was none.
    pub(super) fn bury(&mut self, id: Uuid, now: u64) -> bool {
        let fresh = self.tombstones.insert(id);
        if fresh {
            self.forgets.push_back((now + millis(RESERVATION_LIFE), id));
        }
        fresh
    }

    /// Both queues are in the order of time, because every entry is made the same life before it is due.
    pub(super) fn reclaim(&mut self, now: u64, count: usize) {
        for _ in 0..count {
            let is_due = |(at, _): &(u64, Uuid)| *at <= now;
            if self.forgets.len() <= MAX_TOMBSTONES && !self.forgets.front().is_some_and(is_due) {
                break;
            }
            if let Some((_, id)) = self.forgets.pop_front() {
                self.tombstones.remove(&id);
            }
        }
        for _ in 0..count {
            let Some(&(at, id)) = self.lapses.front().filter(|(at, _)| *at <= now) else { break };
            self.lapses.pop_front();
            if let Entry::Occupied(holding) = self.live.entry(id)
                && holding.get().lapses_at == at
            {
                let holding = holding.remove();
                self.give_back(&holding, now);
            }
        }
    }

    fn give_back(&mut self, holding: &Holding, now: u64) {
        for applied in holding.limits.iter() {
            if let Some(counter) = self.counter_mut(applied, now) {
                counter.give_back(held(applied.measure, holding.input, holding.output));
            }
        }
    }

    /// Gives everything back, the charge for the request too.
    pub(super) fn undo(&mut self, holding: &Holding, now: u64) {
        self.give_back(holding, now);
        let Some(admitted_at) = holding.admitted_at else { return };
        let requests = holding.limits.iter().filter(|applied| applied.measure == Measure::Requests);
        for applied in requests {
            if let Some(counter) = self.counter_mut(applied, now) {
                counter.uncharge_request(admitted_at, millis(applied.window));
            }
        }
    }
}
