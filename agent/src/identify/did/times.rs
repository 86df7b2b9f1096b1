//! When a proof was signed, and how long it is good.

use super::super::fault::IdentityFault;
use attach_proto::did::DidPolicy;
use jiff::Timestamp;
use std::time::Duration;

/// Unix times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) issued: i64,
    pub(super) expires: i64,
    pub(super) not_before: Option<i64>,
}

impl Times {
    /// # Errors
    /// The first that does not fit now, or a longer life than the policy allows. That is counted from `iat`, which may not
    /// lie in the future: so `exp` can't either, by more than it.
    pub(super) fn check(&self, now: Timestamp, policy: &DidPolicy) -> Result<(), IdentityFault> {
        let skew = DidPolicy::CLOCK_SKEW;
        let now_ms = now.as_millisecond();
        if self.valid_until() <= now_ms {
            return Err(IdentityFault::Expired { claim: self.expires / 1000, now, skew });
        }
        let latest = now_ms.saturating_add(milliseconds(skew));
        if let Some(claim) = self.not_before.filter(|time| *time > latest) {
            return Err(IdentityFault::NotYetValid { claim: claim / 1000, now, skew });
        }
        if self.issued > latest {
            return Err(IdentityFault::IssuedInFuture { claim: self.issued / 1000, now, skew });
        }
        let lifetime = self.expires.saturating_sub(self.issued);
        if lifetime > milliseconds(policy.max_lifetime) {
            let lifetime = Duration::from_millis(u64::try_from(lifetime).unwrap_or_default());
            return Err(IdentityFault::LifetimeTooLong { lifetime, max: policy.max_lifetime });
        }
        Ok(())
    }

    /// The allowed skew included.
    pub(super) fn valid_until(&self) -> i64 {
        self.expires.saturating_add(milliseconds(DidPolicy::CLOCK_SKEW))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::did::AllowedDids;

    #[test]
    fn a_proof_that_is_not_of_now_is_told_its_own_time_in_seconds_and_its_twin_is_good() {
        const NOW: i64 = 1_800_000_000;
        let policy = DidPolicy {
            allowed: AllowedDids::default(),
            audiences: Vec::new(),
            max_lifetime: Duration::from_secs(600),
            one_time: false,
            domains: Vec::new(),
        };
        let good = Times { issued: NOW, expires: NOW + 300, not_before: None };
        for (times, expected) in [
            (good, None),
            (Times { expires: NOW - 59, issued: NOW - 100, ..good }, None),
            (Times { expires: NOW - 60, issued: NOW - 100, ..good }, Some("`exp` is 1799999940,")),
            (Times { not_before: Some(NOW + 60), ..good }, None),
            (Times { not_before: Some(NOW + 61), ..good }, Some("`nbf` is 1800000061,")),
            (Times { issued: NOW + 60, ..good }, None),
            (Times { issued: NOW + 61, ..good }, Some("`iat` is 1800000061,")),
            (Times { expires: NOW + 600, ..good }, None),
            (Times { expires: NOW + 601, ..good }, Some("601s")),
        ] {
            let milliseconds = |seconds: i64| seconds * 1000;
            let times = Times {
                issued: milliseconds(times.issued),
                expires: milliseconds(times.expires),
                not_before: times.not_before.map(milliseconds),
            };
            let told = times.check(Timestamp::from_second(NOW).unwrap(), &policy);
            let told = told.map_err(|fault| fault.to_string());
            match expected {
                None => assert_eq!(told, Ok(()), "{times:?}"),
                Some(part) => {
                    assert!(told.as_ref().is_err_and(|it| it.contains(part)), "{times:?}: {told:?}")
                }
            }
        }
    }
}
