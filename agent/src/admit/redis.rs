//! The quota store in a Redis, shared by all agents that serve a tenant.
//!
//! Each operation is one script, so that it is atomic and one round trip. Each call has a budget that nothing exceeds:
//! a store that is slow, hung or gone costs a caller that long, a few times, and then nothing until it is back.

use super::{
    counter::Counter,
    link::Link,
    script::{Invocation, Scripts},
    store::{Admission, Ask, Reservation, Settlement, StoreClock, StoreFault, millis},
    undone::{Call, Undone},
};
use ::redis::Client;
use attach_proto::id::TenantId;
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

/// Reservations in one settlement or renewal. A script runs alone in Redis: 64 at about 10 µs each keep others
/// waiting for less than a millisecond.
const BATCH: usize = 64;

/// How long [`RedisStore::run`] pauses when the store did not take what it owes.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Why an address is no Redis.
#[derive(Debug, thiserror::Error)]
#[error(
    "is not the address of a Redis: redis://[user:password@]host[:port][/database], or rediss:// for TLS"
)]
pub(crate) struct InvalidAddress;

/// One core's connection to a Redis.
#[derive(Debug)]
pub(crate) struct RedisStore {
    link: Link,
    scripts: Scripts,
    clock: StoreClock,
    undone: RefCell<Undone>,
}

impl RedisStore {
    /// Connects when it is first asked.
    ///
    /// # Errors
    ///
    /// When the address is none of a Redis.
    pub(crate) fn new(
        url: &Url,
        call_budget: Duration,
        clock: StoreClock,
    ) -> Result<Rc<Self>, InvalidAddress> {
        // The cause may quote the address, which may hold a password.
        let client = Client::open(url.as_str()).map_err(|_| InvalidAddress)?;
        Ok(Rc::new(Self {
            link: Link::new(client, call_budget),
            scripts: Scripts::new(),
            clock,
            undone: RefCell::default(),
        }))
    }

    /// Settlements that were given up since the start, because the store was away for too long.
    pub(crate) fn lost(&self) -> u64 {
        self.undone.borrow().lost()
    }

    pub(super) async fn admit(&self, ask: Ask) -> Result<Admission, StoreFault> {
        let mut invocation = Invocation::new(&ask.tenant, &self.clock);
        invocation.id(ask.id).number(ask.input).number(ask.output.at_least).number(ask.output.at_most);
        invocation.limits(&ask.limits);
        let mut unanswered = Unanswered { store: self, tenant: &ask.tenant, id: Some(ask.id) };
        let answer: Result<Vec<i64>, StoreFault> = self.link.call(&self.scripts.admit, &invocation).await;
        if !answer.as_ref().is_err_and(|fault| fault.may_have_been_done()) {
            unanswered.id = None;
        }
        drop(unanswered);
        let (grant, now, counters) = decoded(&answer?, &ask).ok_or(StoreFault::Misbehaved)?;
        match grant {
            Grant::Output(output) => Admission::new(ask, Some(output), &counters, now),
            Grant::None => Admission::new(ask, None, &counters, now),
            Grant::Released => Err(StoreFault::Released),
        }
    }

    pub(super) async fn extend(&self, reservation: &Reservation, output: u64) -> Result<bool, StoreFault> {
        let mut invocation = Invocation::new(&reservation.tenant, &self.clock);
        invocation.id(reservation.id).number(reservation.input).number(output);
        invocation.limits(&reservation.limits);
        let answer: i64 = self.link.call(&self.scripts.extend, &invocation).await?;
        Ok(answer == 1)
    }

    pub(super) async fn settle(&self, mut batch: Vec<Settlement>) {
        batch.sort_by(|a, b| a.reservation.tenant.cmp(&b.reservation.tenant));
        let mut unsettled = Unsettled { store: self, settlements: &batch };
        while let Some(first) = unsettled.settlements.first() {
            let is_same =
                |settlement: &&Settlement| settlement.reservation.tenant == first.reservation.tenant;
            let same = unsettled.settlements.iter().take(BATCH).take_while(is_same).count();
            let (settlements, later) = unsettled.settlements.split_at(same);
            match self.settle_now(settlements.iter()).await {
                Ok(()) => {}
                Err(StoreFault::Misbehaved) => self.undone.borrow_mut().give_up(same),
                Err(fault) => self.owe_settlements(settlements, fault.may_have_been_done()),
            }
            unsettled.settlements = later;
        }
    }

    pub(super) async fn renew(&self, live: &[Reservation]) {
        let mut live: Vec<&Reservation> =
            live.iter().filter(|reservation| !reservation.limits.is_empty()).collect();
        live.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        for same in live.chunk_by(|a, b| a.tenant == b.tenant) {
            for reservations in same.chunks(BATCH) {
                let Some(first) = reservations.first() else { continue };
                let mut invocation = Invocation::new(&first.tenant, &self.clock);
                for reservation in reservations {
                    invocation.reservation(reservation, reservation.input, reservation.output);
                }
                // Deliberately ignored: the next round comes long before the reservations lapse.
                let _: Result<i64, StoreFault> = self.link.call(&self.scripts.renew, &invocation).await;
            }
        }
    }

    pub(super) async fn release(&self, tenant: &TenantId, id: Uuid) {
        let mut unanswered = Unanswered { store: self, tenant, id: Some(id) };
        if self.release_now(tenant, &[id]).await.is_ok() {
            unanswered.id = None;
        }
    }

    /// Connects whenever a call wants a connection, and delivers what is undone as soon as the store takes it.
    pub(super) async fn run(&self) {
        // Before anyone wants it: the first callers should not pay for the connection out of their call budget.
        self.link.is_up().await;
        loop {
            self.link.connect_if_wanted().await;
            let owes = !self.undone.borrow().is_empty();
            if !owes {
                self.link.wanted().await;
            } else if self.deliver().await.is_err() {
                let pause = RETRY_PAUSE.mul_f64(0.5 + rand::random::<f64>());
                // A connection may be wanted meanwhile.
                let _ = timeout(pause, self.link.wanted()).await;
            }
        }
    }

    /// One batch of what is undone, taken out only while it is under way.
    async fn deliver(&self) -> Result<(), StoreFault> {
        if !self.link.is_up().await {
            return Err(StoreFault::Unavailable);
        }
        let mut calls = self.undone.borrow_mut().take(BATCH, Instant::now());
        let settlements = || {
            calls.iter().filter_map(|call| match call {
                Call::Settle { settlement, .. } => Some(settlement),
                Call::Release { .. } => None,
            })
        };
        let releases: Vec<(&TenantId, Uuid)> = calls
            .iter()
            .filter_map(|call| match call {
                Call::Release { tenant, id } => Some((tenant, *id)),
                Call::Settle { .. } => None,
            })
            .collect();
        let mut outcome = Ok(());
        if settlements().next().is_some() {
            outcome = self.settle_now(settlements()).await;
        }
        if let (Ok(()) | Err(StoreFault::Misbehaved), Some((tenant, _))) = (&outcome, releases.first()) {
            let ids: Vec<Uuid> = releases.iter().map(|(_, id)| *id).collect();
            outcome = self.release_now(tenant, &ids).await;
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(StoreFault::Misbehaved) => {
                self.undone.borrow_mut().give_up(calls.len());
                Ok(())
            }
            Err(fault) => {
                if fault.may_have_been_done() {
                    calls.iter_mut().for_each(|call| call.was_sent(Instant::now()));
                }
                self.undone.borrow_mut().put_back(calls);
                Err(fault)
            }
        }
    }

    /// Settlements of one tenant.
    async fn settle_now<'a>(
        &self,
        settlements: impl Iterator<Item = &'a Settlement> + Clone,
    ) -> Result<(), StoreFault> {
        let Some(first) = settlements.clone().next() else { return Ok(()) };
        let mut invocation = Invocation::new(&first.reservation.tenant, &self.clock);
        for Settlement { reservation, actual } in settlements {
            invocation.reservation(reservation, actual.input, actual.output);
        }
        self.link.call::<i64>(&self.scripts.settle, &invocation).await.map(drop)
    }

    async fn release_now(&self, tenant: &TenantId, ids: &[Uuid]) -> Result<(), StoreFault> {
        let mut invocation = Invocation::new(tenant, &self.clock);
        for id in ids {
            invocation.id(*id);
        }
        self.link.call::<i64>(&self.scripts.release, &invocation).await.map(drop)
    }

    fn owe_settlements(&self, settlements: &[Settlement], may_have_been_done: bool) {
        let sent = may_have_been_done.then(Instant::now);
        for settlement in settlements {
            self.owe(Call::Settle { settlement: settlement.clone(), sent });
        }
    }

    fn owe(&self, call: Call) {
        self.undone.borrow_mut().push(call);
        self.link.wake();
    }
}

/// An admission or release of which no answer came; dropping it, also because the caller hung up, owes a release.
struct Unanswered<'a> {
    store: &'a RedisStore,
    tenant: &'a TenantId,
    id: Option<Uuid>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.store.owe(Call::Release { tenant: self.tenant.clone(), id });
        }
    }
}

/// Settlements of which no answer came; dropping it owes them.
struct Unsettled<'a> {
    store: &'a RedisStore,
    settlements: &'a [Settlement],
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.store.owe_settlements(self.settlements, true);
    }
}

enum Grant {
    Output(u64),
    None,
    Released,
}

/// The answer of `admit.lua`.
fn decoded(answer: &[i64], ask: &Ask) -> Option<(Grant, u64, Vec<Counter>)> {
    let (&grant, rest) = answer.split_first()?;
    let (&now, counts) = rest.split_first()?;
    let now = u64::try_from(now).ok()?;
    let grant = match grant {
        -2 => return Some((Grant::Released, now, Vec::new())),
        -1 => Grant::None,
        output => Grant::Output(u64::try_from(output).ok()?),
    };
    let mut counters = Vec::with_capacity(ask.limits.len());
    for (applied, counts) in ask.limits.iter().zip(counts.chunks(3)) {
        let &[current, previous, reserved] = counts else { return None };
        let count = |count| u64::try_from(count).ok();
        counters.push(Counter {
            start: now - now % millis(applied.window),
            current: count(current)?,
            previous: count(previous)?,
            reserved: count(reserved)?,
        });
    }
    (counters.len() == ask.limits.len()).then_some((grant, now, counters))
}
