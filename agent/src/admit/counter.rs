//! The arithmetic of one counter: a sliding window made of two buckets.
//!
//! A window counts what was consumed in the current bucket, and of the previous bucket the share that the window
//! still covers. This is the same arithmetic as in `counters.lua`, to the last token.

use super::store::{Applied, RESERVATION_LIFE, millis};
use attach_proto::bundle::Measure;
use std::time::Duration;

/// A count that stands for "more than anyone consumes". Lua counts in doubles, which are exact up to 2^53; sums of
/// a few such counts stay below that.
pub(super) const MAX_COUNT: u64 = 1 << 50;

/// A window that is longer than this in milliseconds (18 hours) is reckoned in coarser steps, so that its square is
/// still exact in the doubles of Lua. The steps err towards refusing, by less than a millionth of the window.
const EXACT_WINDOW: u64 = 1 << 26;

/// One counter as of a moment: [`Counter::opened`] moves it there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counter {
    /// Where the current bucket starts: a multiple of the window, in milliseconds.
    pub(super) start: u64,
    pub(super) current: u64,
    pub(super) previous: u64,
    pub(super) reserved: u64,
}

impl Counter {
    /// Moves the buckets. A start in the future (the clock stepped back) forgets nothing.
    pub(super) fn opened(self, now: u64, window: u64) -> Self {
        let start = now - now % window;
        let (current, previous) = if self.start >= start {
            (self.current, self.previous)
        } else if self.start + window >= start {
            (0, self.current)
        } else {
            (0, 0)
        };
        Self { start, current, previous, reserved: self.reserved }
    }

    /// Rounded up: what is in doubt counts as used.
    pub(super) fn used(&self, now: u64, window: u64) -> u64 {
        let rest = (self.start + window).saturating_sub(now);
        self.current.saturating_add(faded(self.previous, rest, window))
    }

    pub(super) fn available(&self, now: u64, window: u64, amount: u64) -> u64 {
        amount.saturating_sub(self.used(now, window).saturating_add(self.reserved))
    }

    /// How long until `need` fits if nothing else happens, exact to the millisecond; `None` when it never does.
    ///
    /// Where reservations alone fill the counter it is the longest that one can last without being renewed.
    pub(super) fn wait(&self, now: u64, window: u64, amount: u64, need: u64) -> Option<Duration> {
        let room = amount.checked_sub(need)?;
        if self.used(now, window).saturating_add(self.reserved) <= room {
            return Some(Duration::ZERO);
        }
        let Some(room) = room.checked_sub(self.reserved) else {
            return Some(RESERVATION_LIFE);
        };
        let left = (self.start + window).saturating_sub(now);
        let wait = if self.current <= room {
            left.saturating_sub(rest_that_fits(self.previous, room - self.current, window))
        } else {
            left + window - rest_that_fits(self.current, room, window)
        };
        Some(Duration::from_millis(wait))
    }

    /// How long until nothing counts against the limit, if nothing else happens and what is reserved is consumed.
    pub(super) fn resets_in(&self, now: u64, window: u64) -> Duration {
        let left = (self.start + window).saturating_sub(now);
        Duration::from_millis(if self.current > 0 || self.reserved > 0 {
            left + window
        } else if self.previous > 0 {
            left
        } else {
            0
        })
    }

    /// Whether it says no more than a counter that does not exist.
    pub(super) fn is_empty(&self) -> bool {
        self.current == 0 && self.previous == 0 && self.reserved == 0
    }

    pub(super) fn charge(&mut self, amount: u64) {
        self.current = self.current.saturating_add(amount).min(MAX_COUNT);
    }

    pub(super) fn give_back(&mut self, amount: u64) {
        self.reserved = self.reserved.saturating_sub(amount);
    }

    /// Takes back one request that was charged at `at`, from the bucket in which it was.
    pub(super) fn uncharge_request(&mut self, at: u64, window: u64) {
        let bucket = at - at % window;
        if bucket == self.start {
            self.current = self.current.saturating_sub(1);
        } else if bucket + window == self.start {
            self.previous = self.previous.saturating_sub(1);
        }
    }
}

/// The most output that fits all limits, at least `at_least` and at most `at_most`; `None` when less than that fits.
pub(super) fn grant<'a>(
    counters: impl Iterator<Item = (&'a Applied, &'a Counter)>,
    now: u64,
    input: u64,
    at_least: u64,
    at_most: u64,
) -> Option<u64> {
    let mut grant = at_most;
    for (applied, counter) in counters {
        let available = counter.available(now, millis(applied.window), applied.amount);
        match applied.measure {
            Measure::Requests => available.checked_sub(1).map(drop)?,
            Measure::InputTokens => available.checked_sub(input).map(drop)?,
            Measure::OutputTokens => grant = grant.min(available),
            Measure::TotalTokens => grant = grant.min(available.checked_sub(input)?),
        }
    }
    (grant >= at_least).then_some(grant)
}

/// What a request asks of a counter of this measure.
pub(super) fn needed(measure: Measure, input: u64, output: u64) -> u64 {
    match measure {
        Measure::Requests => 1,
        Measure::InputTokens => input,
        Measure::OutputTokens => output,
        Measure::TotalTokens => input.saturating_add(output),
    }
}

/// What a reservation holds of a counter of this measure: requests are charged at once and never held.
pub(super) fn held(measure: Measure, input: u64, output: u64) -> u64 {
    match measure {
        Measure::Requests => 0,
        Measure::InputTokens | Measure::OutputTokens | Measure::TotalTokens => needed(measure, input, output),
    }
}

/// `previous * rest / window`, rounded up.
fn faded(previous: u64, mut rest: u64, mut window: u64) -> u64 {
    while window >= EXACT_WINDOW {
        window /= 2;
        rest = rest.div_ceil(2);
    }
    product_div_ceil(previous, rest.min(window), window)
}

/// The largest part of a window in which no more than `room` of `count` is left.
fn rest_that_fits(count: u64, room: u64, window: u64) -> u64 {
    if count == 0 {
        return window;
    }
    let rest = u128::from(room) * u128::from(window) / u128::from(count);
    u64::try_from(rest).map_or(window, |rest| rest.min(window))
}

fn product_div_ceil(a: u64, b: u64, divisor: u64) -> u64 {
    if let Some(product) = a.checked_mul(b) {
        return product.div_ceil(divisor);
    }
    let quotient = (u128::from(a) * u128::from(b)).div_ceil(u128::from(divisor));
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_that_steps_back_forgets_nothing() {
        let counter = Counter { start: 120_000, current: 7, previous: 3, reserved: 2 };
        let earlier = counter.opened(65_000, 60_000);
        assert_eq!(earlier, Counter { start: 60_000, ..counter });
    }

    #[test]
    fn a_request_that_can_never_fit_is_not_told_to_wait() {
        assert_eq!(Counter::default().wait(0, 60_000, 100, 101), None);
    }

    proptest! {
        #[test]
        fn a_caller_who_waits_as_told_fits_and_one_who_comes_a_millisecond_early_does_not(
            now in 10_000_000_000u64..20_000_000_000,
            window in 1_000u64..EXACT_WINDOW,
            (current, previous) in (0u64..5_000, 0u64..5_000),
            need in 1u64..2_000,
        ) {
            let amount = 2_000;
            let start = now - now % window;
            let counter = Counter { start, current, previous, reserved: 0 };
            let wait = counter.wait(now, window, amount, need).unwrap().as_millis() as u64;
            let fits = |at: u64| counter.opened(at, window).available(at, window, amount) >= need;
            prop_assert!(fits(now + wait));
            prop_assert!(wait == 0 || !fits(now + wait - 1));
        }
    }
}
