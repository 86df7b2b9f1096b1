//! What an identity provider comes to, for people: which product it is taken for, and what that filled in.

use super::{Invalid, identity_product};
use crate::{
    bundle::{IdentityProvider, Required, RequiredClaim, TokenType},
    v1::{self, IdentityProduct},
};

/// An identity provider as a gateway takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The product's own name; `None` for one that is like none of them.
    pub product: Option<&'static str>,
    /// Nobody said the product: the issuer's address tells it, or tells none.
    pub is_by_address: bool,
    pub filled_in: Vec<FilledIn>,
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledIn {
    /// Path of the field, such as `claims.user`.
    pub field: &'static str,
    /// What stands there now.
    pub value: String,
}

impl Taken {
    /// # Errors
    ///
    /// When no gateway could serve by it.
    pub fn of(said: &v1::IdentityProvider) -> Result<Self, Invalid> {
        let provider = IdentityProvider::try_from(said.clone())?;
        let filled = identity_product::fill_in(said.clone())?;
        Ok(Self {
            product: name(filled.product()),
            is_by_address: said.product() == IdentityProduct::Unspecified,
            filled_in: filled_in(said, provider),
        })
    }
}

fn name(product: IdentityProduct) -> Option<&'static str> {
    Some(match product {
        IdentityProduct::Unspecified | IdentityProduct::Generic => return None,
        IdentityProduct::Auth0 => "Auth0",
        IdentityProduct::Okta => "Okta",
        IdentityProduct::EntraId => "Entra ID",
        IdentityProduct::Google => "Google",
        IdentityProduct::Keycloak => "Keycloak",
        IdentityProduct::Cognito => "Cognito",
        IdentityProduct::Descope => "Descope",
        IdentityProduct::Dex => "dex",
        IdentityProduct::Authentik => "Authentik",
    })
}

/// In the order in which a token is looked at: whether it is good, and then whose it is.
fn filled_in(said: &v1::IdentityProvider, provider: IdentityProvider) -> Vec<FilledIn> {
    let named = said.claims.clone().unwrap_or_default();
    let claims = provider.claims;
    let algorithms: Vec<_> = provider.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    let types: Vec<_> = provider.token_types.iter().map(|of| type_text(*of)).collect();
    let added = provider.required_claims.iter().skip(said.required_claims.len()).map(claim_text);
    let added: Vec<_> = added.collect();
    let skew = format!("{}s", provider.clock_skew.as_secs());
    let all = [
        ("token_types", said.token_types.is_empty(), Some(types.join(", "))),
        ("algorithms", said.algorithms.is_empty(), Some(algorithms.join(", "))),
        ("audience_claim", said.audience_claim.is_empty(), Some(provider.audience_claim.as_str().to_owned())),
        ("required_claims", true, (!added.is_empty()).then(|| added.join(", "))),
        ("clock_skew", said.clock_skew.is_none(), Some(skew)),
        ("claims.user", named.user.is_empty(), Some(claims.user.as_str().to_owned())),
        ("claims.email", named.email.is_empty(), claims.email.map(|path| path.as_str().to_owned())),
        ("claims.groups", named.groups.is_empty(), Some(claims.groups.as_str().to_owned())),
        ("claims.roles", named.roles.is_empty(), claims.roles.map(|path| path.as_str().to_owned())),
        (
            "claims.organisation",
            named.organisation.is_empty(),
            claims.organisation.map(|path| path.as_str().to_owned()),
        ),
    ];
    let left_out = all.into_iter().filter(|(_, is_left_out, _)| *is_left_out);
    left_out.filter_map(|(field, _, value)| Some(FilledIn { field, value: value? })).collect()
}

fn type_text(of: TokenType) -> &'static str {
    match of {
        TokenType::AtJwt => "access tokens (at+jwt)",
        TokenType::Jwt => "access tokens (JWT, or no type)",
        TokenType::Id => "ID tokens",
    }
}

fn claim_text(required: &RequiredClaim) -> String {
    let claim = required.claim.as_str();
    match &required.is {
        Required::Present => format!("{claim} is there"),
        Required::AnyOf(any_of) => format!("{claim} is {}", any_of.join(" or ")),
        Required::Absent => format!("{claim} is not there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::ClaimMapping;

    fn said(issuer: &str) -> v1::IdentityProvider {
        v1::IdentityProvider {
            id: "login".to_owned(),
            tenant: "acme".to_owned(),
            issuer: issuer.to_owned(),
            audiences: vec!["api".to_owned()],
            ..v1::IdentityProvider::default()
        }
    }

    fn value<'a>(taken: &'a Taken, field: &str) -> Option<&'a str> {
        taken.filled_in.iter().find(|of| of.field == field).map(|of| of.value.as_str())
    }

    #[test]
    fn a_product_that_is_known_by_its_address_says_what_it_fills_in() {
        let taken = Taken::of(&said("https://acme.eu.auth0.com/")).unwrap();
        assert_eq!((taken.product, taken.is_by_address), (Some("Auth0"), true));
        assert_eq!(value(&taken, "algorithms"), Some("RS256, PS256"));
        assert_eq!(value(&taken, "claims.user"), Some("/sub"));
        assert_eq!(value(&taken, "claims.roles"), Some("*/roles"));
        assert_eq!(value(&taken, "claims.organisation"), Some("/org_id"));
        assert_eq!(value(&taken, "required_claims"), None);
        let keycloak = Taken::of(&said("https://id.example/realms/main")).unwrap();
        assert_eq!(value(&keycloak, "required_claims"), Some("/typ is Bearer or DPoP"));
        let dex =
            v1::IdentityProvider { product: IdentityProduct::Dex.into(), ..said("https://dex.example") };
        assert_eq!(value(&Taken::of(&dex).unwrap(), "required_claims"), Some("/c_hash is not there"));
        let okta = Taken::of(&said("https://acme.okta.com")).unwrap();
        assert_eq!(value(&okta, "required_claims"), Some("/cid is there"));
    }

    #[test]
    fn what_somebody_said_was_not_filled_in() {
        let said = v1::IdentityProvider {
            product: IdentityProduct::Okta.into(),
            algorithms: vec!["ES256".to_owned()],
            token_types: vec![v1::TokenType::Jwt.into()],
            audience_claim: "/aud".to_owned(),
            clock_skew: Some(crate::duration(std::time::Duration::from_secs(5))),
            required_claims: vec![v1::RequiredClaim { claim: "/ver".to_owned(), ..Default::default() }],
            claims: Some(ClaimMapping { user: "/uid".to_owned(), ..ClaimMapping::default() }),
            ..said("https://login.example/")
        };
        let taken = Taken::of(&said).unwrap();
        assert_eq!((taken.product, taken.is_by_address), (Some("Okta"), false));
        let fields: Vec<_> = taken.filled_in.iter().map(|of| of.field).collect();
        assert_eq!(fields, ["required_claims", "claims.email", "claims.groups", "claims.roles"]);
        assert_eq!(
            value(&taken, "required_claims"),
            Some("/cid is there"),
            "what was said is not told again"
        );
    }

    #[test]
    fn an_unknown_address_is_taken_for_no_product_and_a_bad_provider_for_nothing() {
        let taken = Taken::of(&said("https://login.example/")).unwrap();
        assert_eq!((taken.product, taken.is_by_address), (None, true));
        assert_eq!(value(&taken, "algorithms"), Some("RS256, ES256"));
        let types = "access tokens (at+jwt), access tokens (JWT, or no type)";
        assert_eq!(value(&taken, "token_types"), Some(types));
        assert_eq!(Taken::of(&said("login.example")).unwrap_err().path, "issuer");
    }
}
