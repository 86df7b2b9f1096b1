//! Which DIDs may call for a tenant, and what their proof must keep.

use super::Did;
use std::{collections::BTreeSet, time::Duration};

#[derive(Debug, Clone, PartialEq)]
pub struct DidPolicy {
    pub allowed: AllowedDids,
    /// At least one, none twice.
    pub audiences: Vec<String>,
    /// From `iat` to `exp`.
    pub max_lifetime: Duration,
    /// Each proof is good for one request.
    pub one_time: bool,
    /// Where signed messages may have been asked for, as the wallet showed it to whoever signed.
    pub domains: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedDids {
    /// Every `did:key` and `did:pkh` that proves itself. Never a `did:web`: then strangers would choose whom the gateway
    /// asks.
    pub any: bool,
    pub listed: BTreeSet<Did>,
}

impl DidPolicy {
    /// Who makes a key itself needs no long life of what it signs; the same hour that issuers commonly give.
    pub const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(3600);

    /// A proof cannot be revoked alone, so a day is the longest that a stolen one may be of use.
    pub const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

    /// How far the clocks of caller and gateway may be apart: as for identity providers.
    pub const CLOCK_SKEW: Duration = crate::bundle::IdentityProvider::DEFAULT_CLOCK_SKEW;
}

impl AllowedDids {
    pub fn has(&self, did: &Did) -> bool {
        self.listed.contains(did) || (self.any && !did.is_web())
    }
}
