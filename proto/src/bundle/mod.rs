//! The configuration of a pool, valid by construction: every reference resolves, every number is in range.

mod api_key;
mod claim_path;
mod identity_provider;

pub use api_key::{ApiKey, PreviousSecret};
pub use claim_path::{ClaimPath, JsonPointer};
pub use identity_provider::{
    Algorithm, ClaimMapping, IdentityProvider, KeySource, Proof, Required, RequiredClaim, TokenType,
};

use crate::{
    did::DidPolicy,
    id::{AccessRuleId, KeyId, LimitId, ModelName, QuotaStoreId, Revision, TenantId, UpstreamId},
    route::{Dialect, Metering, PathPattern, RouteMethod},
};
use std::time::Duration;
use url::Url;

#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    pub revision: Revision,
    pub tenants: Vec<Tenant>,
    pub quota_stores: Vec<QuotaStore>,
    pub identity_providers: Vec<IdentityProvider>,
    pub keys: Vec<ApiKey>,
    pub models: Vec<Model>,
    pub limits: Vec<Limit>,
    pub access_rules: Vec<AccessRule>,
    pub upstreams: Vec<Upstream>,
    pub routes: Routes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub quota_store: QuotaStoreId,
    pub on_quota_outage: QuotaOutage,
    pub durability: Durability,
    /// `None`: no DID may call.
    pub did: Option<DidPolicy>,
}

impl Tenant {
    /// Whether an answer may only end when its usage is durable.
    pub fn is_strict(&self) -> bool {
        self.durability == Durability::Strict
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaOutage {
    Deny,
    Allow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Strict,
    Relaxed,
}

#[derive(Debug, Clone, PartialEq)]
pub struct QuotaStore {
    pub id: QuotaStoreId,
    pub kind: QuotaStoreKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum QuotaStoreKind {
    Local,
    Redis { url: Url, call_budget: Duration },
}

impl QuotaStoreKind {
    /// Envoy's rate limit filter gives its service the same 20 ms.
    pub const DEFAULT_CALL_BUDGET: Duration = Duration::from_millis(20);
}

#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub name: ModelName,
    pub aliases: Vec<ModelName>,
    /// At least one.
    pub targets: Vec<ModelTarget>,
    pub max_output_tokens: Option<u64>,
    /// Empty: all.
    pub tenants: Vec<TenantId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelTarget {
    pub upstream: UpstreamId,
    pub engine_model: ModelName,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    pub id: LimitId,
    pub tenant: TenantId,
    pub counter: Counter,
    pub scope: LimitScope,
    pub measure: Measure,
    /// Sliding. Whole milliseconds, at least one second.
    pub window: Duration,
    pub amount: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    Shared,
    EachPrincipal,
    EachModel,
    EachPrincipalAndModel,
}

/// Empty lists do not narrow; all that are given must match.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LimitScope {
    pub principals: Vec<String>,
    pub groups: Vec<String>,
    pub models: Vec<ModelName>,
    pub keys: Vec<KeyId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Requests,
    InputTokens,
    OutputTokens,
    TotalTokens,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AccessRule {
    pub id: AccessRuleId,
    pub tenant: TenantId,
    pub principals: Vec<String>,
    pub groups: Vec<String>,
    pub roles: Vec<String>,
    /// A token must have been granted one of these.
    pub scopes: Vec<String>,
    pub models: Vec<ModelName>,
    /// At least one.
    pub permissions: Vec<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Inference,
    Read,
    /// To change what an engine has.
    Admin,
}

impl Permission {
    pub fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// What is let through beside the gateway's own table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Routes {
    /// None of them is in the table, none is never let through, and no two have a path and a method in common.
    pub allow: Vec<AllowedRoute>,
    /// Host names, with their port where they have one, in lower case.
    pub registries: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AllowedRoute {
    pub path: PathPattern,
    /// At least one.
    pub methods: Vec<RouteMethod>,
    pub permission: Permission,
    pub metering: Metering,
    pub dialect: Dialect,
    pub upstream: Option<UpstreamId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    pub id: UpstreamId,
    pub kind: UpstreamKind,
    pub url: Url,
    /// Empty: any.
    pub models: Vec<ModelName>,
    pub weight: u32,
    pub max_in_flight: Option<u32>,
    pub timeouts: UpstreamTimeouts,
    pub credential_env: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamKind {
    Ollama,
    Vllm,
    LlamaCpp,
    OpenAi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    pub connect: Duration,
    pub first_byte: Duration,
    pub between_bytes: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(600),
            between_bytes: Duration::from_secs(300),
        }
    }
}
