//! What the access tokens of well-known products are like, so that an issuer and an audience are all that must be said.
//!
//! Each by its vendor's documentation of access tokens; what an operator says always counts before it.

use super::{Invalid, known};
use crate::v1::{ClaimMapping, IdentityProduct, IdentityProvider, RequiredClaim, TokenType};

/// What a product's tokens are like, where they differ from the general.
#[derive(Default)]
struct Product {
    algorithms: &'static [&'static str],
    token_types: &'static [TokenType],
    audience_claim: &'static str,
    user: &'static str,
    groups: &'static str,
    email: &'static str,
    roles: &'static str,
    organisation: &'static str,
    /// A claim that all of its access tokens have and its ID tokens have not, or not so.
    mark: Option<(&'static str, &'static [&'static str])>,
    /// A claim that none of its access tokens has and its ID tokens have.
    never: Option<&'static str>,
}

/// Fills in what is left out.
pub(super) fn fill_in(mut provider: IdentityProvider) -> Result<IdentityProvider, Invalid> {
    let named = known(provider.product, "product")?;
    let product = match named {
        IdentityProduct::Unspecified => by_address(&provider.issuer),
        IdentityProduct::Generic
        | IdentityProduct::Auth0
        | IdentityProduct::Okta
        | IdentityProduct::EntraId
        | IdentityProduct::Google
        | IdentityProduct::Keycloak
        | IdentityProduct::Cognito
        | IdentityProduct::Descope
        | IdentityProduct::Dex
        | IdentityProduct::Authentik => named,
    };
    provider.product = product.into();
    let usual = of(product, &provider.issuer);
    if provider.algorithms.is_empty() {
        provider.algorithms = usual.algorithms.iter().map(|&name| name.to_owned()).collect();
    }
    if provider.token_types.is_empty() {
        provider.token_types = usual.token_types.iter().map(|&of| of.into()).collect();
    }
    let mark = usual.mark.map(|(claim, any_of)| (claim, any_of, false));
    let never = usual.never.map(|claim| (claim, &[] as &[_], true));
    for (claim, any_of, absent) in mark.into_iter().chain(never) {
        if provider.required_claims.iter().all(|required| required.claim != claim) {
            let any_of = any_of.iter().map(|&text| text.to_owned()).collect();
            provider.required_claims.push(RequiredClaim { claim: claim.to_owned(), any_of, absent });
        }
    }
    fill(&mut provider.audience_claim, usual.audience_claim);
    let claims = provider.claims.get_or_insert_with(ClaimMapping::default);
    fill(&mut claims.user, usual.user);
    fill(&mut claims.groups, usual.groups);
    fill(&mut claims.email, usual.email);
    fill(&mut claims.roles, usual.roles);
    fill(&mut claims.organisation, usual.organisation);
    Ok(provider)
}

fn fill(text: &mut String, usual: &str) {
    if text.is_empty() {
        usual.clone_into(text);
    }
}

/// The product of an issuer, where its address tells: the vendor's own domain, or a path that only it has.
fn by_address(issuer: &str) -> IdentityProduct {
    let Ok(url) = url::Url::parse(issuer) else { return IdentityProduct::Generic };
    let host = url.host_str().unwrap_or_default();
    let is_below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    if is_below("auth0.com") {
        IdentityProduct::Auth0
    } else if is_below("okta.com") || is_below("oktapreview.com") || is_below("okta-emea.com") {
        IdentityProduct::Okta
    } else if host == "login.microsoftonline.com" || host == "sts.windows.net" {
        IdentityProduct::EntraId
    } else if host == "accounts.google.com" {
        IdentityProduct::Google
    } else if host.starts_with("cognito-idp.") && is_below("amazonaws.com") {
        IdentityProduct::Cognito
    } else if host == "descope.com" || is_below("descope.com") {
        IdentityProduct::Descope
    } else if url.path().starts_with("/realms/") || url.path().starts_with("/auth/realms/") {
        IdentityProduct::Keycloak
    } else if url.path().starts_with("/application/o/") {
        IdentityProduct::Authentik
    } else {
        IdentityProduct::Generic
    }
}

fn of(product: IdentityProduct, issuer: &str) -> Product {
    const PLAIN: &[TokenType] = &[TokenType::Jwt];
    const RS256: &[&str] = &["RS256"];
    match product {
        IdentityProduct::Unspecified | IdentityProduct::Generic => Product::default(),
        // Both token profiles. What Actions add has the customer's namespace.
        IdentityProduct::Auth0 => Product {
            algorithms: &["RS256", "PS256"],
            groups: "*/groups",
            email: "*/email",
            roles: "*/roles",
            organisation: "/org_id",
            ..Product::default()
        },
        IdentityProduct::Okta => Product {
            algorithms: RS256,
            token_types: PLAIN,
            // The client's id; ID tokens have it as their audience alone.
            mark: Some(("/cid", &[])),
            ..Product::default()
        },
        IdentityProduct::EntraId => Product {
            algorithms: RS256,
            token_types: PLAIN,
            // `sub` is another one for each application.
            user: "/oid",
            organisation: "/tid",
            // Of version 2.0 and 1.0. ID tokens have neither.
            mark: Some((if issuer.starts_with("https://sts.windows.net/") { "/appid" } else { "/azp" }, &[])),
            ..Product::default()
        },
        // Google's access tokens are for Google alone. What it signs for others' services are ID tokens, with an audience
        // of the service's choice; Cloud Run takes the same.
        IdentityProduct::Google => Product {
            algorithms: RS256,
            token_types: &[TokenType::Id],
            organisation: "/hd",
            ..Product::default()
        },
        // The type stands among the claims; header and key are those of ID tokens.
        IdentityProduct::Keycloak => Product {
            algorithms: &["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"],
            roles: "/realm_access/roles",
            organisation: "/organization",
            mark: Some(("/typ", &["Bearer", "DPoP"])),
            ..Product::default()
        },
        // Access tokens name no audience but the client.
        IdentityProduct::Cognito => Product {
            algorithms: RS256,
            token_types: PLAIN,
            audience_claim: "/client_id",
            groups: "/cognito:groups",
            mark: Some(("/token_use", &["access"])),
            ..Product::default()
        },
        IdentityProduct::Descope => {
            Product { algorithms: RS256, token_types: PLAIN, organisation: "/dct", ..Product::default() }
        }
        // It signs ID tokens and nothing else: what it hands out as an access token has their hashes too, but for the one of
        // the code that was changed for it. ID tokens of a refresh have none of that either, and can't be told from it.
        IdentityProduct::Dex => Product {
            algorithms: RS256,
            token_types: &[TokenType::Jwt, TokenType::Id],
            never: Some("/c_hash"),
            ..Product::default()
        },
        // Beside `azp`, what makes an ID token of it an access token.
        IdentityProduct::Authentik => Product {
            algorithms: &["RS256", "ES256"],
            token_types: PLAIN,
            mark: Some(("/uid", &[])),
            ..Product::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_known_by_an_address_that_only_it_has() {
        for (issuer, product) in [
            ("https://acme.eu.auth0.com/", IdentityProduct::Auth0),
            ("https://dev-1.okta.com/oauth2/default", IdentityProduct::Okta),
            ("https://login.microsoftonline.com/72f988bf/v2.0", IdentityProduct::EntraId),
            ("https://sts.windows.net/72f988bf/", IdentityProduct::EntraId),
            ("https://accounts.google.com", IdentityProduct::Google),
            ("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", IdentityProduct::Cognito),
            ("https://api.descope.com/P2x", IdentityProduct::Descope),
            ("https://id.acme.com/realms/main", IdentityProduct::Keycloak),
            ("https://id.acme.com/auth/realms/main", IdentityProduct::Keycloak),
            ("https://id.acme.com/application/o/gateway/", IdentityProduct::Authentik),
            ("https://dex.acme.com/dex", IdentityProduct::Generic),
            ("https://evilauth0.com/", IdentityProduct::Generic),
            ("https://auth0.com.evil.test/", IdentityProduct::Generic),
            ("https://accounts.google.com.evil.test", IdentityProduct::Generic),
            ("https://evil.test/?x=.auth0.com", IdentityProduct::Generic),
        ] {
            assert_eq!(by_address(issuer), product, "{issuer}");
        }
    }

    #[test]
    fn what_somebody_says_counts_before_the_product() {
        let said = IdentityProvider {
            issuer: "https://acme.okta.com".to_owned(),
            algorithms: vec!["ES256".to_owned()],
            claims: Some(ClaimMapping { user: "/uid".to_owned(), ..ClaimMapping::default() }),
            required_claims: vec![RequiredClaim { claim: "/ver".to_owned(), ..RequiredClaim::default() }],
            ..IdentityProvider::default()
        };
        let filled = fill_in(said.clone()).unwrap();
        assert_eq!(filled.algorithms, ["ES256"]);
        assert_eq!(filled.claims.unwrap().user, "/uid");
        let required: Vec<_> = filled.required_claims.iter().map(|of| of.claim.as_str()).collect();
        assert_eq!(required, ["/ver", "/cid"], "what tells access tokens from ID tokens stays");
        let generic = IdentityProvider { product: IdentityProduct::Generic.into(), ..said };
        assert_eq!(fill_in(generic.clone()).unwrap().required_claims, generic.required_claims);
    }
}
