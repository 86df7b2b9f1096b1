//! A verified caller.

use super::possession::Binding;
use attach_proto::{
    bundle::Permission,
    id::{IdentityProviderId, KeyId, ModelName, TenantId},
    usage::{PrincipalKind, PrincipalSnapshot},
};

/// Whoever makes a request, as the credential proved it. Nothing in here comes from a header that a caller can set, but for
/// whom an application names that may do that.
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
    pub(crate) roles: Vec<String>,
    /// Of the access token.
    pub(crate) scopes: Vec<String>,
    pub(crate) email: Option<String>,
    /// As a multi-tenant application's identity provider names it.
    pub(crate) organisation: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) cost_centre: Option<String>,
    /// What an API key may be used for at most. `None` for callers without one, whom the access rules alone bound.
    pub(crate) bounds: Option<KeyBounds>,
    /// What the token is bound to, which each request must show.
    pub(crate) bound_to: Option<Binding>,
    /// The application's key, when that named this caller.
    pub(crate) delegated_by: Option<KeyId>,
    /// What the engine may see: base64url of a JSON object, at most 4 KiB.
    pub(crate) forwarded_claims: Option<String>,
}

/// What a key's maker gave it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyBounds {
    pub(crate) permissions: Vec<Permission>,
    /// Empty: all.
    pub(crate) models: Vec<ModelName>,
    /// Whether its holder may name the end user on whose behalf it calls.
    pub(crate) act_as: bool,
}

impl Principal {
    /// A caller of whom nothing else is known.
    pub(crate) fn new(tenant: TenantId, kind: PrincipalKind, subject: String) -> Self {
        Self {
            tenant,
            kind,
            subject,
            issuer: None,
            provider: None,
            key: None,
            groups: Vec::new(),
            roles: Vec::new(),
            scopes: Vec::new(),
            email: None,
            organisation: None,
            project: None,
            cost_centre: None,
            bounds: None,
            bound_to: None,
            delegated_by: None,
            forwarded_claims: None,
        }
    }

    pub(crate) fn snapshot(&self) -> PrincipalSnapshot {
        PrincipalSnapshot {
            kind: self.kind,
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            key: self.key.clone(),
            groups: self.groups.clone(),
            project: self.project.clone(),
            organisation: self.organisation.clone(),
            cost_centre: self.cost_centre.clone(),
            email: self.email.clone(),
            delegated_by: self.delegated_by.clone(),
        }
    }
}
