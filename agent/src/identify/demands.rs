//! What a provider demands of its tokens beyond the general: clients, claims and scopes.

use super::{claims::Claims, excerpt::Excerpt, fault::IdentityFault};
use attach_proto::bundle::{IdentityProvider, Required, RequiredClaim};
use serde_json::Value;

/// Where issuers name the client that a token was issued to: OpenID Connect and RFC 9068; Okta; Entra ID of version 1.
const CLIENT_CLAIMS: [&str; 4] = ["azp", "client_id", "cid", "appid"];

pub(super) fn client(claims: &Claims) -> Option<&str> {
    CLIENT_CLAIMS.iter().find_map(|name| claims.text(name))
}

/// # Errors
/// The first claim that is missing or has another value.
pub(super) fn check_claims(claims: &Claims, provider: &IdentityProvider) -> Result<(), IdentityFault> {
    if !provider.clients.is_empty() {
        let client = client(claims);
        if !client.is_some_and(|client| provider.clients.iter().any(|known| known == client)) {
            return Err(IdentityFault::ClientNotAllowed(Excerpt::of(client.unwrap_or_default())));
        }
    }
    match provider.required_claims.iter().find(|required| !is_met(required, claims)) {
        Some(required) => Err(IdentityFault::RequiredClaim {
            claim: Excerpt::of(required.claim.as_str()),
            problem: match &required.is {
                Required::Absent => "is there",
                Required::Present => "is missing",
                Required::AnyOf(_) => "is missing or has another value",
            },
        }),
        None => Ok(()),
    }
}

/// To be asked of a verified token alone: the answer tells which scopes there are.
///
/// # Errors
/// The first scope that was not granted.
pub(super) fn check_scopes(claims: &Claims, provider: &IdentityProvider) -> Result<(), IdentityFault> {
    let is_granted = |wanted: &str| claims.scopes().any(|scope| scope == wanted);
    match provider.required_scopes.iter().find(|wanted| !is_granted(wanted)) {
        Some(missing) => Err(IdentityFault::MissingScope(missing.as_str().into())),
        None => Ok(()),
    }
}

fn is_met(required: &RequiredClaim, claims: &Claims) -> bool {
    let found = required.claim.look_up(claims.members());
    let any_of = match &required.is {
        Required::Absent => return found.is_none(),
        Required::Present => return found.is_some_and(|found| !found.is_null()),
        Required::AnyOf(any_of) => any_of,
    };
    let Some(found) = found else { return false };
    let is_one = |value: &Value| match value {
        Value::String(text) => any_of.contains(text),
        // `email_verified` and the like.
        Value::Bool(_) | Value::Number(_) => any_of.contains(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match found {
        Value::Array(elements) => elements.iter().any(is_one),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            is_one(found)
        }
    }
}
