//! Keeps requests from waiting for a store that does not answer.

use std::time::{Duration, Instant};

/// Consecutive misses that open the breaker: more than one lost packet, less than a tenth of a second of callers
/// waiting in a row at the default call budget.
const MISSES_TO_OPEN: u32 = 5;

/// The first pause, and the longest: short enough that a store that is back is found within a second, long enough
/// that callers wait for it at most a fortieth of the time at the default call budget.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// Closed while `open_until` is empty. When the pause is over one call may try (half-open): it moves `open_until`
/// by its own budget, so that others stay out until it is known how it went, and so that one which is
/// abandoned blocks nothing.
#[derive(Debug)]
pub(super) struct Breaker {
    probe_budget: Duration,
    misses: u32,
    pause: Duration,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(probe_budget: Duration) -> Self {
        Self { probe_budget, misses: 0, pause: FIRST_PAUSE, open_until: None }
    }

    /// Whether a call may be made now.
    pub(super) fn lets_through(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                self.open_until = Some(now + self.probe_budget);
                true
            }
        }
    }

    pub(super) fn answered(&mut self) {
        *self = Self::new(self.probe_budget);
    }

    /// A connection was made. That is no answer yet, but reason not to wait for the end of the pause.
    pub(super) fn reached(&mut self, now: Instant) {
        self.open_until = self.open_until.map(|until| until.min(now));
    }

    /// `jitter` is uniform in 0..1 and spreads the probes of many agents over the whole pause.
    /// Returns whether the breaker is open now.
    pub(super) fn missed(&mut self, now: Instant, jitter: f64) -> bool {
        self.misses = self.misses.saturating_add(1);
        if self.misses >= MISSES_TO_OPEN {
            // Calls that began before it opened come back as misses too; they must not prolong the pause.
            let is_new = self.open_until.is_none_or(|until| now + self.probe_budget >= until);
            if is_new {
                self.open_until = Some(now + self.pause.mul_f64(jitter));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(20);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(BUDGET);
        for _ in 1..MISSES_TO_OPEN {
            assert!(!breaker.missed(now, 1.0));
        }
        assert!(breaker.missed(now, 1.0));
        breaker
    }

    #[test]
    fn five_misses_in_a_row_keep_callers_out_until_the_pause_is_over() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.lets_through(now + FIRST_PAUSE - Duration::from_millis(1)));
        assert!(breaker.lets_through(now + FIRST_PAUSE));
        assert!(!breaker.lets_through(now + FIRST_PAUSE), "a second caller beside the probe");
    }

    #[test]
    fn an_answer_between_misses_keeps_the_breaker_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new(BUDGET);
        for _ in 0..3 * MISSES_TO_OPEN {
            breaker.missed(now, 1.0);
            breaker.answered();
        }
        assert!(breaker.lets_through(now));
    }

    #[test]
    fn an_abandoned_probe_blocks_nobody_for_longer_than_its_budget() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.lets_through(now + FIRST_PAUSE));
        assert!(breaker.lets_through(now + FIRST_PAUSE + BUDGET));
    }

    #[test]
    fn a_connection_ends_the_pause_and_a_miss_on_it_begins_the_next() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.reached(now);
        assert!(breaker.lets_through(now));
        assert!(breaker.missed(now, 1.0));
        assert!(!breaker.lets_through(now + FIRST_PAUSE));
    }

    #[test]
    fn pauses_grow_but_a_store_that_is_back_is_found_within_a_second() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for _ in 0..20 {
            let before = now;
            while !breaker.lets_through(now) {
                now += Duration::from_millis(1);
            }
            assert!(now - before < Duration::from_secs(1));
            now += BUDGET;
            breaker.missed(now, 1.0);
        }
        breaker.answered();
        assert!(breaker.lets_through(now));
    }
}
