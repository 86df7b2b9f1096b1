//! The configuration of a pool, valid by construction: every reference resolves, every number is in range.

use crate::id::{
    AccessRuleId, IdentityProviderId, KeyId, LimitId, ModelName, QuotaStoreId, Revision, TenantId, UpstreamId,
};
use crate::route::{Dialect, Metering, PathPattern, RouteMethod};
use jiff::Timestamp;
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
pub struct IdentityProvider {
    pub id: IdentityProviderId,
    pub tenant: TenantId,
    /// As configured. The issuer's own metadata may have one slash more or less at the end.
    pub issuer: String,
    /// At least one.
    pub audiences: Vec<String>,
    /// At least one.
    pub algorithms: Vec<Algorithm>,
    pub jwks_url: Option<Url>,
    pub clock_skew: Duration,
    pub claims: ClaimMapping,
}

impl IdentityProvider {
    pub const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(60);
    pub const DEFAULT_ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];
}

/// Asymmetric JWS algorithms (RFC 7518 section 3.1, RFC 8037). `none` and HMAC have no place in a gateway that
/// holds only public keys, so they cannot even be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in a JWS header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Exact: `rs256` is no algorithm (RFC 7515 section 4.1.1, names are case-sensitive).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMapping {
    pub user: JsonPointer,
    pub groups: JsonPointer,
    pub project: Option<JsonPointer>,
    pub forwarded: Vec<JsonPointer>,
}

/// RFC 6901, starting with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// `None` when the text does not start with a slash or has a `~` that escapes nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let escapes_are_whole = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        (text.starts_with('/') && escapes_are_whole).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub tenant: TenantId,
    pub sha256: [u8; 32],
    pub owner: String,
    pub groups: Vec<String>,
    pub expires_at: Option<Timestamp>,
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
    pub models: Vec<ModelName>,
    /// At least one.
    pub permissions: Vec<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Inference,
    Read,
    /// Changing an engine.
    Admin,
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
