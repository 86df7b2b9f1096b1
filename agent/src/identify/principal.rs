//! A verified caller.

use attach_proto::{
    id::{IdentityProviderId, KeyId, TenantId},
    usage::{PrincipalKind, PrincipalSnapshot},
};

/// Whoever makes a request, as the credential proved it. Nothing in here comes from a header that a caller can set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Principal {
    pub(crate) tenant: TenantId,
    pub(crate) kind: PrincipalKind,
    /// Unique within (tenant, kind, issuer).
    pub(crate) subject: String,
    /// `iss`, for those who came with a token.
    pub(crate) issuer: Option<String>,
    pub(crate) provider: Option<IdentityProviderId>,
    pub(crate) key: Option<KeyId>,
    pub(crate) groups: Vec<String>,
    pub(crate) project: Option<String>,
    /// What the engine may see: base64url of a JSON object, at most 4 KiB.
    pub(crate) forwarded_claims: Option<String>,
}

impl Principal {
    pub(crate) fn snapshot(&self) -> PrincipalSnapshot {
        PrincipalSnapshot {
            kind: self.kind,
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            key: self.key.clone(),
            groups: self.groups.clone(),
            project: self.project.clone(),
        }
    }
}
