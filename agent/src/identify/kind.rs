//! Which kind of token it is. An issuer signs several with the same key, and only one of them is for us.

use super::{claims::Claims, excerpt::Excerpt, fault::IdentityFault, token::Header};
use attach_proto::bundle::{IdentityProvider, TokenType};

/// The claim `typ` of Keycloak, whose header type and key are the same for all.
const BY_TYP: [(&str, &str); 3] =
    [("Refresh", "a refresh token"), ("Offline", "a refresh token"), ("Logout", "a logout token")];

/// Hashes of what is handed out beside an ID token (OpenID Connect Core sections 3.1.3.6, 3.3.2.11; FAPI 1.0).
const HASHES_OF_ID_TOKENS: [&str; 3] = ["at_hash", "c_hash", "s_hash"];

/// # Errors
/// A token of a kind that the provider's callers do not come with.
pub(super) fn check_kind(
    claims: &Claims,
    header: &Header,
    provider: &IdentityProvider,
) -> Result<(), IdentityFault> {
    if let Some(other) = other_kind(claims) {
        return Err(IdentityFault::NotAccessToken(other));
    }
    let allows = |of| provider.token_types.contains(&of);
    if is_id_token(claims) {
        // One that also says that it is an access token is neither.
        let is_allowed = allows(TokenType::Id) && !header.is_at_jwt;
        return if is_allowed { Ok(()) } else { Err(IdentityFault::NotAccessToken("an ID token")) };
    }
    let is_allowed = match header.is_at_jwt {
        true => allows(TokenType::AtJwt),
        // An ID token need not have anything that shows it to be one.
        false => allows(TokenType::Jwt) || allows(TokenType::Id),
    };
    if is_allowed {
        Ok(())
    } else {
        Err(IdentityFault::TypeNotAllowed(Excerpt::of(if header.is_at_jwt { "at+jwt" } else { "JWT" })))
    }
}

fn other_kind(claims: &Claims) -> Option<&'static str> {
    if let Some(found) = claims.text("typ")
        && let Some((_, kind)) = BY_TYP.iter().find(|(name, _)| name.eq_ignore_ascii_case(found))
    {
        return Some(kind);
    }
    // Descope's refresh tokens have the audience and the key of its session tokens.
    if claims.text("drn") == Some("DSR") {
        return Some("a refresh token");
    }
    // OpenID Connect Back-Channel Logout 1.0 section 2.4, for issuers that give it no type of its own.
    let logout = "http://schemas.openid.net/event/backchannel-logout";
    if claims.get("events").is_some_and(|events| events.get(logout).is_some()) {
        return Some("a logout token");
    }
    // RFC 9449 section 4.2, for one without its type.
    let is_proof = claims.get("htm").is_some() && claims.get("htu").is_some();
    is_proof.then_some("a proof of possession")
}

/// By what issuers say of it, or else by what only an ID token has.
fn is_id_token(claims: &Claims) -> bool {
    let typ = claims.text("typ");
    let says_so =
        typ.is_some_and(|typ| typ.eq_ignore_ascii_case("ID")) || claims.text("token_use") == Some("id");
    let has_hash = HASHES_OF_ID_TOKENS.iter().any(|name| claims.get(name).is_some());
    // The client's nonce comes back in the ID token. Keycloak before version 24 also put it into access tokens, which say
    // what they are; those of others have scopes.
    let says_otherwise =
        typ.is_some_and(|typ| typ.eq_ignore_ascii_case("Bearer")) || claims.scopes().next().is_some();
    says_so || has_hash || (claims.get("nonce").is_some() && !says_otherwise)
}
