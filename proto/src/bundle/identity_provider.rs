//! Issuers whose tokens callers present, and what such a token must be like.

use super::ClaimPath;
use crate::id::{IdentityProviderId, TenantId};
use std::{sync::Arc, time::Duration};
use url::Url;

#[derive(Debug, Clone, PartialEq)]
pub struct IdentityProvider {
    pub id: IdentityProviderId,
    pub tenant: TenantId,
    /// As configured. The issuer's own metadata may have one slash more or less at the end.
    pub issuer: String,
    /// At least one.
    pub audiences: Vec<String>,
    /// Where the token names its audience: `aud`, or `client_id` where the product has no audience (Cognito).
    pub audience_claim: ClaimPath,
    /// At least one.
    pub algorithms: Vec<Algorithm>,
    /// At least one.
    pub token_types: Vec<TokenType>,
    pub jwks_url: Option<Url>,
    /// A JSON Web Key Set. The gateway does not ask the issuer then.
    pub jwks: Option<Arc<str>>,
    pub key_source: KeySource,
    pub clock_skew: Duration,
    /// How old a token may be by its `iat`; then it must have one.
    pub max_age: Option<Duration>,
    /// A token must have been granted all of these.
    pub required_scopes: Vec<String>,
    pub required_claims: Vec<RequiredClaim>,
    /// Clients whose tokens are accepted, by `azp`, `client_id`, `cid` or `appid`. Empty: all.
    pub clients: Vec<String>,
    /// Values of the claim at `claims.organisation` that are this tenant's. Empty: the issuer and audience alone lead to
    /// the tenant.
    pub organisations: Vec<String>,
    /// Proofs of possession that are checked. A token that is bound by another one is refused.
    pub proofs: Vec<Proof>,
    pub claims: ClaimMapping,
}

impl IdentityProvider {
    pub const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(60);
    pub const DEFAULT_ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];
    pub const DEFAULT_TOKEN_TYPES: [TokenType; 2] = [TokenType::AtJwt, TokenType::Jwt];

    /// Whether the two, of one issuer and audience, read a token's audience and organisation at the same places. Else which
    /// tenant a token calls for would depend on which of them is asked first.
    pub fn reads_organisations_as(&self, other: &Self) -> bool {
        self.claims.organisation == other.claims.organisation && self.audience_claim == other.audience_claim
    }
}

/// Who asks an issuer for its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// Each gateway, unless the provider brings its keys.
    Gateway,
    /// The control plane, which sends them with the configuration.
    ControlPlane,
}

/// Asymmetric JWS algorithms (RFC 7518 section 3.1, RFC 8037, RFC 8812). `none` and HMAC have no place in a gateway that
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
    Es512,
    EdDsa,
    Es256K,
}

impl Algorithm {
    /// Those that an identity provider may sign with. ES256K is of DIDs alone.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
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
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Es256K => "ES256K",
        }
    }

    /// Exact: `rs256` is no algorithm (RFC 7515 section 4.1.1, names are case-sensitive).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain([Self::Es256K]).find(|algorithm| algorithm.name() == name)
    }
}

/// What a token says it is, by its header's `typ` and by what only its kind has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// An access token that says so: `at+jwt` (RFC 9068 section 2.1).
    AtJwt,
    /// An access token of before RFC 9068: `JWT`, or no type.
    Jwt,
    /// An ID token. Only for issuers that sign nothing else, as Google does.
    Id,
}

/// How a caller shows that a token is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// RFC 9449.
    Dpop,
    /// A client certificate (RFC 8705 section 3).
    Certificate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    pub claim: ClaimPath,
    pub is: Required,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Required {
    Present,
    /// The claim, or an element of it, is one of these.
    AnyOf(Vec<String>),
    /// Not even with `null`.
    Absent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMapping {
    pub user: ClaimPath,
    pub groups: ClaimPath,
    pub email: Option<ClaimPath>,
    pub roles: Option<ClaimPath>,
    pub organisation: Option<ClaimPath>,
    pub project: Option<ClaimPath>,
    pub cost_centre: Option<ClaimPath>,
    pub forwarded: Vec<ClaimPath>,
}
