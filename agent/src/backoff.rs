//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// Pauses with full jitter: each is anything between nothing and a bound that doubles with each failure, so that many
/// gateways that lost the same server do not come back to it at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(rand::random_range(0.0..1.0))
    }

    /// It went well: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn bound(&self) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest_and_starts_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut bounds = Vec::new();
        for _ in 0..9 {
            let bound = backoff.bound();
            let pause = backoff.next();
            assert!(pause <= bound, "{pause:?}");
            bounds.push(bound.as_millis());
        }
        assert_eq!(bounds, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(500));
        backoff.failures = u32::MAX;
        assert!(backoff.next() <= Duration::from_secs(30));
    }

    #[test]
    fn two_that_failed_together_do_not_come_back_together() {
        let pauses: Vec<_> =
            (0..32).map(|_| Backoff::new(Duration::from_secs(8), Duration::from_secs(30)).next()).collect();
        let early = pauses.iter().filter(|pause| **pause < Duration::from_secs(4)).count();
        assert!((1..32).contains(&early), "{pauses:?}");
    }
}
