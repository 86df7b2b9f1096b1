//! Which DIDs call for a tenant, as a body has it.

use super::problem::Problem;
use attach_proto::{did, v1};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// Callers that prove a DID themselves, without an identity provider.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DidPolicy {
    /// DIDs, or `*` for each did:key and did:pkh that proves itself; a did:web must be named.
    allowed: Vec<String>,
    /// What their proofs name in `aud`, or as URI: one at least.
    audiences: Vec<String>,
    /// From signing to the end: 3600 when left out, 86400 at most.
    max_lifetime_seconds: Option<u64>,
    /// Each proof serves one request, at each gateway that it is sent to.
    #[serde(default)]
    one_time: bool,
    /// Whether did:web may be among the allowed.
    #[serde(default)]
    web: bool,
    /// Where messages may have been signed: a host, with its port where that is not the usual. Those of the audiences that are URLs when left out.
    #[serde(default)]
    domains: Vec<String>,
}

impl DidPolicy {
    /// By the rules of the contract.
    pub(super) fn checked(self) -> Result<did::DidPolicy, Problem> {
        let Self { allowed, audiences, max_lifetime_seconds, one_time, web, domains } = self;
        let max_lifetime = max_lifetime_seconds.map(|it| attach_proto::duration(Duration::from_secs(it)));
        let wire = v1::DidPolicy { allowed, audiences, max_lifetime, one_time, web, domains };
        did::DidPolicy::try_from(wire).map_err(|invalid| {
            let mut invalid = invalid;
            invalid.path = format!("did.{}", invalid.path);
            Problem::of_invalid(&invalid, &[("/did/max_lifetime", "/did/max_lifetime_seconds")])
        })
    }
}

impl From<&did::DidPolicy> for DidPolicy {
    fn from(policy: &did::DidPolicy) -> Self {
        let v1::DidPolicy { allowed, audiences, max_lifetime: _, one_time, web, domains } = policy.into();
        let max_lifetime_seconds = Some(policy.max_lifetime.as_secs());
        Self { allowed, audiences, max_lifetime_seconds, one_time, web, domains }
    }
}
