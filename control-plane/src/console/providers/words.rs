//! What the contract's enums are called in the form; by the API's names, where it has them.

use attach_proto::v1::{IdentityProduct, Proof, TokenType};

/// With what people call it. Unspecified is what the form begins with.
pub(super) const PRODUCTS: [(IdentityProduct, &str, &str); 11] = [
    (IdentityProduct::Unspecified, "", "the one that the issuer's address tells"),
    (IdentityProduct::Generic, "generic", "none: only what is said here counts"),
    (IdentityProduct::Auth0, "auth0", "Auth0"),
    (IdentityProduct::Okta, "okta", "Okta"),
    (IdentityProduct::EntraId, "entra_id", "Entra ID"),
    (IdentityProduct::Google, "google", "Google"),
    (IdentityProduct::Keycloak, "keycloak", "Keycloak"),
    (IdentityProduct::Cognito, "cognito", "Cognito"),
    (IdentityProduct::Descope, "descope", "Descope"),
    (IdentityProduct::Dex, "dex", "dex"),
    (IdentityProduct::Authentik, "authentik", "Authentik"),
];

pub(super) const TOKEN_TYPES: [(TokenType, &str, &str); 3] = [
    (TokenType::AtJwt, "at_jwt", "access tokens that say so (at+jwt)"),
    (TokenType::Jwt, "jwt", "access tokens with the type JWT, or none"),
    (TokenType::Id, "id", "ID tokens: only of an issuer that signs nothing else"),
];

pub(super) const PROOFS: [(Proof, &str, &str); 2] = [
    (Proof::Dpop, "dpop", "a signature for each request (DPoP)"),
    (Proof::Certificate, "certificate", "the client certificate of the connection"),
];

/// Values and what they are called, for a field.
pub(super) fn names<W>(words: &[(W, &'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    words.iter().map(|(_, name, text)| (*name, *text)).collect()
}

pub(super) fn word<W: Copy>(words: &[(W, &'static str, &'static str)], name: &str) -> Option<W> {
    words.iter().find(|(_, of, _)| *of == name).map(|(word, ..)| *word)
}

pub(super) fn name<W: Copy + Into<i32>>(
    words: &[(W, &'static str, &'static str)],
    number: i32,
) -> Option<&'static str> {
    words.iter().find(|(word, ..)| (*word).into() == number).map(|(_, name, _)| *name)
}
