//! How often issuers are asked, and how long we wait for them and do without them.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From one good answer to the next question: 80 % of the 600 s that Envoy caches a key set. A withdrawn key works no
    /// longer than this.
    pub refresh: Duration,
    /// Between two questions about a key id that is not known. A stranger can ask for ids without end.
    pub cool_down: Duration,
    /// The same where other keys came since: the issuer is changing them, and may sign with one more at any moment. No stranger
    /// can make it do that; and one whose servers disagree is not asked without end.
    pub cool_down_after_change: Duration,
    /// The same for all issuers together: strangers may know many.
    pub demands_per_second: u32,
    /// How long a request waits for an answer; one fetch has as long.
    pub patience: Duration,
    /// After a failure; twice as long after each further one.
    pub first_retry: Duration,
    /// So that an issuer that is back is found within half a minute.
    pub last_retry: Duration,
    /// An issuer that is out for a day is an incident that people have noticed; until then tokens go on.
    pub max_stale: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(480),
            cool_down: Duration::from_secs(30),
            cool_down_after_change: Duration::from_secs(1),
            demands_per_second: 10,
            patience: Duration::from_secs(5),
            first_retry: Duration::from_secs(1),
            last_retry: Duration::from_secs(30),
            max_stale: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Of the time to live: the new set is there before the old one is due.
const REFRESH_AT: f64 = 0.8;

impl Pace {
    /// Keys are renewed before they are `ttl` old.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { refresh: ttl.mul_f64(REFRESH_AT), ..self }
    }

    /// A fifth more or less, so that many gateways do not ask an issuer that comes back all at once.
    pub fn retry(&self, failures: u32) -> Duration {
        let doubled = self.first_retry.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.last_retry).mul_f64(rand::random_range(0.8..1.2))
    }

    /// A tenth less at most, never more.
    pub fn next_refresh(&self) -> Duration {
        self.refresh.mul_f64(rand::random_range(0.9..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_issuer_is_asked_less_and_less_often_but_at_least_each_half_minute() {
        let pace = Pace::default();
        assert!(pace.retry(1) < Duration::from_millis(1200));
        assert!(pace.retry(4) > Duration::from_secs(6));
        assert!(pace.retry(u32::MAX) < Duration::from_secs(36));
        assert!((pace.refresh.mul_f64(0.9)..=pace.refresh).contains(&pace.next_refresh()));
    }

    #[test]
    fn keys_are_renewed_before_they_are_as_old_as_an_operator_lets_them_be() {
        let other = Pace { max_stale: Duration::from_secs(7), ..Pace::default() };
        let pace = other.with_ttl(Duration::from_secs(100));
        assert_eq!((pace.refresh, pace.max_stale), (Duration::from_secs(80), Duration::from_secs(7)));
    }
}
