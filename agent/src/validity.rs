//! From when until when a certificate is good, and when something is to be done about that.

use jiff::{SignedDuration, Timestamp};
use std::{ops::Range, time::Duration};

/// Where in its life a certificate is renewed: at two thirds, and up to a twentieth earlier, so that gateways that were
/// started together do not come together.
pub(crate) const RENEW_AT: Range<f64> = 0.617..0.667;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    pub(crate) fn life(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }

    /// The moment when this part of the life is over.
    pub(crate) fn at(&self, part: f64) -> Timestamp {
        let wait = SignedDuration::try_from_secs_f64(self.life().as_secs_f64() * part).unwrap_or_default();
        self.not_before.checked_add(wait).unwrap_or(self.not_before)
    }
}

/// How long until a moment; nothing when it is over.
pub(crate) fn until(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_a_day_is_renewed_before_its_sixteenth_hour_is_over() {
        let not_before = Timestamp::UNIX_EPOCH;
        let validity = Validity { not_before, not_after: not_before + SignedDuration::from_hours(24) };
        let hours = |part| validity.at(part).duration_since(not_before).as_secs_f64() / 3600.0;
        assert!(hours(RENEW_AT.start) > 14.0 && hours(RENEW_AT.end) < 16.1);
        assert_eq!(until(validity.not_before, validity.not_after), Duration::ZERO);
    }
}
