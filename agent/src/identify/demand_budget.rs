//! How many questions about unknown keys a gateway asks, whoever is meant.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// The demands of one second, for all issuers of a process.
#[derive(Debug)]
pub(super) struct DemandBudget {
    per_second: u32,
    window: Mutex<Option<(Instant, u32)>>,
}

impl DemandBudget {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, window: Mutex::new(None) }
    }

    pub(super) fn take(&self, now: Instant) -> bool {
        let mut window = self.window.lock();
        let (start, used) = match *window {
            Some((start, used)) if now.duration_since(start) < Duration::from_secs(1) => (start, used),
            Some(_) | None => (now, 0),
        };
        let allowed = used < self.per_second;
        *window = Some((start, used + u32::from(allowed)));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_issuers_together_are_asked_ten_times_a_second() {
        let budget = DemandBudget::new(10);
        let now = Instant::now();
        assert_eq!((0..100).filter(|_| budget.take(now)).count(), 10);
        assert_eq!((0..100).filter(|_| budget.take(now + Duration::from_secs(1))).count(), 10);
    }
}
