//! What a Redis store still owes, because it did not answer when it was asked.

use super::store::{RESERVATION_LIFE, Settlement};
use attach_proto::id::TenantId;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Calls that are kept for a store that is away: a minute at 270 requests a second on one core, about 5 MB.
const MAX_UNDONE: usize = 16_384;

/// A settlement that may have arrived is repeated only while its tombstone certainly stands, five seconds less than
/// it lives; otherwise it could be charged twice.
const REPEATABLE: Duration = RESERVATION_LIFE.saturating_sub(Duration::from_secs(5));

#[derive(Debug)]
pub(super) enum Call {
    Settle {
        settlement: Settlement,
        /// When it was first sent, if it was.
        sent: Option<Instant>,
    },
    Release {
        tenant: TenantId,
        id: Uuid,
    },
}

#[derive(Debug, Default)]
pub(super) struct Undone {
    calls: VecDeque<Call>,
    lost: u64,
}

impl Undone {
    pub(super) fn push(&mut self, call: Call) {
        if self.calls.len() >= MAX_UNDONE && self.calls.pop_front().is_some() {
            self.give_up(1);
        }
        self.calls.push_back(call);
    }

    /// The next calls of one tenant, in order and at most `max`; those that are too old to be repeated are given up.
    pub(super) fn take(&mut self, max: usize, now: Instant) -> Vec<Call> {
        let before = self.calls.len();
        self.calls.retain(|call| !call.is_too_old(now));
        self.give_up(before - self.calls.len());
        let Some(tenant) = self.calls.front().map(|call| call.tenant().clone()) else { return Vec::new() };
        let same = self.calls.iter().take(max).take_while(|call| *call.tenant() == tenant).count();
        self.calls.drain(..same).collect()
    }

    /// Puts back what [`Undone::take`] took.
    pub(super) fn put_back(&mut self, calls: Vec<Call>) {
        for call in calls.into_iter().rev() {
            self.calls.push_front(call);
        }
        let over = self.calls.len().saturating_sub(MAX_UNDONE);
        self.calls.drain(..over);
        self.give_up(over);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Calls that were given up since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Counts settlements that will not be made.
    pub(super) fn give_up(&mut self, count: usize) {
        if count > 0 {
            tracing::warn!(count, "gave up settlements that the quota store did not take");
            self.lost += count as u64;
        }
    }
}

impl Call {
    fn tenant(&self) -> &TenantId {
        match self {
            Self::Settle { settlement, .. } => &settlement.reservation.tenant,
            Self::Release { tenant, .. } => tenant,
        }
    }

    pub(super) fn was_sent(&mut self, now: Instant) {
        match self {
            Self::Settle { sent, .. } => _ = sent.get_or_insert(now),
            Self::Release { .. } => {}
        }
    }

    /// A release is never too old: it says the same however often it is said.
    fn is_too_old(&self, now: Instant) -> bool {
        match self {
            Self::Settle { sent: Some(sent), .. } => now.saturating_duration_since(*sent) > REPEATABLE,
            Self::Settle { sent: None, .. } | Self::Release { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(tenant: &str) -> Call {
        Call::Release { tenant: tenant.parse().unwrap(), id: Uuid::now_v7() }
    }

    #[test]
    fn what_is_owed_is_bounded_and_what_is_given_up_is_counted() {
        let mut undone = Undone::default();
        for _ in 0..MAX_UNDONE + 3 {
            undone.push(release("acme"));
        }
        assert_eq!((undone.calls.len(), undone.lost()), (MAX_UNDONE, 3));
    }

    #[test]
    fn calls_of_two_tenants_are_not_taken_together_and_can_be_put_back() {
        let mut undone = Undone::default();
        undone.push(release("acme"));
        undone.push(release("acme"));
        undone.push(release("globex"));
        let taken = undone.take(10, Instant::now());
        assert_eq!(taken.len(), 2);
        undone.put_back(taken);
        assert_eq!(undone.take(1, Instant::now()).len(), 1);
        assert_eq!(undone.take(10, Instant::now()).len(), 1);
        assert_eq!(undone.take(10, Instant::now()).len(), 1);
        assert!(undone.is_empty());
    }
}
