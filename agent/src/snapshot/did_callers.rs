//! Whom a proven DID calls for: an index, so that one tenant of ten thousand costs no more to find than the only one.

use attach_proto::{bundle::Tenant, did::Did};
use foldhash::HashMap;

#[derive(Debug, Default)]
pub(super) struct DidCallers(HashMap<String, ByAudience>);

/// Places in the bundle's list of tenants. A bundle by which a DID had two is refused.
#[derive(Debug, Default)]
struct ByAudience {
    any: Option<usize>,
    listed: HashMap<Did, usize>,
}

/// Why a DID calls for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTenant {
    /// No policy has any of the audiences.
    Audience,
    /// Those that have one do not allow the DID.
    NotAllowed,
    /// By one audience it calls for another tenant than by the next.
    Several,
}

impl DidCallers {
    pub(super) fn of(tenants: &[Tenant]) -> Self {
        let mut callers = HashMap::<String, ByAudience>::default();
        for (index, tenant) in tenants.iter().enumerate() {
            let Some(policy) = &tenant.did else { continue };
            for audience in &policy.audiences {
                let by_audience = callers.entry(audience.clone()).or_default();
                if policy.allowed.any {
                    by_audience.any = Some(index);
                }
                by_audience.listed.extend(policy.allowed.listed.iter().map(|did| (did.clone(), index)));
            }
        }
        Self(callers)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn tenant(&self, did: &Did, audiences: &[&str]) -> Result<usize, NoTenant> {
        let mut known = audiences.iter().filter_map(|audience| self.0.get(*audience)).peekable();
        if known.peek().is_none() {
            return Err(NoTenant::Audience);
        }
        let of = |by: &ByAudience| by.listed.get(did).copied().or(by.any.filter(|_| !did.is_web()));
        let mut tenants = known.filter_map(of);
        let tenant = tenants.next().ok_or(NoTenant::NotAllowed)?;
        if tenants.all(|other| other == tenant) { Ok(tenant) } else { Err(NoTenant::Several) }
    }
}
