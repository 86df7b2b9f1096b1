//! An identity provider in bodies: the contract's message, in the API's own words.

use attach_proto::{v1, v1::IdentityProduct};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// The contract's enums with names of their own in JSON, to and from the wire's numbers.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $wire:ty { $($(#[$of_value:meta])* $value:ident),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
            #[serde(rename_all = "snake_case")]
            pub(crate) enum $name {
                $($(#[$of_value])* $value),*
            }

            impl $name {
                fn to_wire(self) -> i32 {
                    match self { $(Self::$value => <$wire>::$value.into()),* }
                }

                /// `None` for what is not said.
                fn of_wire(number: i32) -> Option<Self> {
                    match <$wire>::try_from(number) {
                        $(Ok(<$wire>::$value) => Some(Self::$value),)*
                        Ok(<$wire>::Unspecified) | Err(_) => None,
                    }
                }
            }
        )*
    };
}

words! {
    /// Whose tokens are like the product's own documentation says, where nothing else is said.
    Product = IdentityProduct {
        /// None: only what is said counts.
        Generic,
        Auth0, Okta, EntraId, Google, Keycloak, Cognito, Descope, Dex, Authentik,
    }
    TokenType = v1::TokenType {
        /// An access token with the type `at+jwt` (RFC 9068).
        AtJwt,
        /// An access token with the type `JWT`, or none.
        Jwt,
        /// An ID token: only for issuers that sign nothing else, such as Google.
        Id,
    }
    /// Who asks the issuer for its keys.
    KeySource = v1::KeySource {
        /// Each gateway.
        Gateway,
        /// This control plane, which sends them to the gateways: they need no way to the issuer.
        ControlPlane,
    }
    Proof = v1::Proof {
        /// RFC 9449.
        Dpop,
        /// The client certificate of the connection (RFC 8705).
        Certificate,
    }
}

/// Where an issuer's tokens say what, as JSON Pointers (RFC 6901), or `*/name` for a claim in a namespace of its own.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Claims {
    /// Whom usage is recorded for; `/sub` without a word.
    user: String,
    /// `/groups` without a word.
    groups: String,
    /// `/email` without a word.
    email: String,
    /// `/roles` without a word.
    roles: String,
    organisation: String,
    project: String,
    cost_centre: String,
    /// What the engine is told of a caller.
    forwarded: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequiredClaim {
    claim: String,
    /// The claim, or an element of it, must be one of these; it must only be there without a word.
    #[serde(default)]
    any_of: Vec<String>,
    /// It must not be there.
    #[serde(default)]
    absent: bool,
}

/// What is not said is for the gateway to fill in, by the product.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// As its tokens' `iss` has it.
    issuer: String,
    /// At least one. An issuer and audience lead to exactly one tenant, or each of their organisations does.
    audiences: Vec<String>,
    /// Told by the issuer's address without a word, where that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    product: Option<Product>,
    /// RS256 and ES256 without a word.
    #[serde(default)]
    algorithms: Vec<String>,
    /// Access tokens without a word.
    #[serde(default)]
    token_types: Vec<TokenType>,
    /// Where the token names its audience; `/aud` without a word.
    #[serde(default)]
    audience_claim: String,
    /// Where its keys are; found through the issuer's metadata without a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwks_url: Option<String>,
    /// A JSON Web Key Set. The issuer is not asked for keys then.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwks: Option<serde_json::Value>,
    /// The gateways without a word. Not together with `jwks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_source: Option<KeySource>,
    /// 60 without a word, at most 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock_skew_seconds: Option<u32>,
    /// How old a token may be by its `iat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age_seconds: Option<u32>,
    #[serde(default)]
    required_scopes: Vec<String>,
    #[serde(default)]
    required_claims: Vec<RequiredClaim>,
    /// Clients whose tokens are accepted; all without a word.
    #[serde(default)]
    clients: Vec<String>,
    /// Values of the claim of the organisation that are this tenant's.
    #[serde(default)]
    organisations: Vec<String>,
    /// Proofs of possession that are checked.
    #[serde(default)]
    proofs: Vec<Proof>,
    #[serde(default)]
    claims: Claims,
}

impl Settings {
    pub(super) fn into_wire(self, id: String, tenant: String) -> v1::IdentityProvider {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into()).into();
        let Claims { user, groups, email, roles, organisation, project, cost_centre, forwarded } =
            self.claims;
        let required = |RequiredClaim { claim, any_of, absent }| v1::RequiredClaim { claim, any_of, absent };
        v1::IdentityProvider {
            id,
            tenant,
            issuer: self.issuer,
            audiences: self.audiences,
            algorithms: self.algorithms,
            jwks_url: self.jwks_url.unwrap_or_default(),
            clock_skew: self.clock_skew_seconds.map(seconds),
            claims: Some(v1::ClaimMapping {
                user,
                groups,
                project,
                forwarded,
                email,
                roles,
                organisation,
                cost_centre,
            }),
            product: self.product.map_or(0, Product::to_wire),
            token_types: self.token_types.into_iter().map(TokenType::to_wire).collect(),
            required_scopes: self.required_scopes,
            required_claims: self.required_claims.into_iter().map(required).collect(),
            max_age: self.max_age_seconds.map(seconds),
            proofs: self.proofs.into_iter().map(Proof::to_wire).collect(),
            jwks: self.jwks.map(|jwks| jwks.to_string()).unwrap_or_default(),
            organisations: self.organisations,
            clients: self.clients,
            audience_claim: self.audience_claim,
            key_source: self.key_source.map_or(0, KeySource::to_wire),
        }
    }

    pub(super) fn of_wire(provider: v1::IdentityProvider) -> Self {
        let seconds = |duration: pbjson_types::Duration| u32::try_from(duration.seconds).unwrap_or(u32::MAX);
        let v1::ClaimMapping { user, groups, project, forwarded, email, roles, organisation, cost_centre } =
            provider.claims.unwrap_or_default();
        let required = |v1::RequiredClaim { claim, any_of, absent }| RequiredClaim { claim, any_of, absent };
        Self {
            issuer: provider.issuer,
            audiences: provider.audiences,
            product: Product::of_wire(provider.product),
            algorithms: provider.algorithms,
            token_types: provider.token_types.into_iter().filter_map(TokenType::of_wire).collect(),
            audience_claim: provider.audience_claim,
            jwks_url: (!provider.jwks_url.is_empty()).then_some(provider.jwks_url),
            jwks: serde_json::from_str(&provider.jwks).ok(),
            key_source: KeySource::of_wire(provider.key_source),
            clock_skew_seconds: provider.clock_skew.map(seconds),
            max_age_seconds: provider.max_age.map(seconds),
            required_scopes: provider.required_scopes,
            required_claims: provider.required_claims.into_iter().map(required).collect(),
            clients: provider.clients,
            organisations: provider.organisations,
            proofs: provider.proofs.into_iter().filter_map(Proof::of_wire).collect(),
            claims: Claims { user, groups, email, roles, organisation, project, cost_centre, forwarded },
        }
    }
}
