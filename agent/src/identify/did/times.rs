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
