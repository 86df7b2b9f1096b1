//! From a verified token's claims to a [`Principal`], as the provider's mapping says.

use super::{claims::Claims, demands::client, excerpt::Excerpt, fault::IdentityFault, principal::Principal};
use attach_proto::{
    bundle::{ClaimMapping, ClaimPath, IdentityProvider},
    usage::PrincipalKind,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// OpenID Connect Core section 2 ends a `sub` at 255 characters; an e-mail address ends at 254.
const MAX_SUBJECT_BYTES: usize = 256;

/// Engines and what stands between take headers of 8 KiB; the claims may have half.
const MAX_FORWARDED_BYTES: usize = 4096;

/// # Errors
/// When the claim that names the user is missing or unfit.
pub(super) fn check_subject(claims: &Claims, provider: &IdentityProvider) -> Result<(), IdentityFault> {
    subject(claims, &provider.claims).map(|_| ())
}

/// # Errors
/// Those of [`check_subject`]; all other claims only describe the caller, and one that is unfit is left out.
pub(super) fn principal(
    claims: &Claims,
    issuer: &str,
    provider: &IdentityProvider,
) -> Result<Principal, IdentityFault> {
    let IdentityProvider { id, tenant, claims: mapping, .. } = provider;
    Ok(Principal {
        issuer: Some(issuer.to_owned()),
        provider: Some(id.clone()),
        groups: texts(claims, &mapping.groups),
        roles: mapping.roles.as_ref().map(|path| texts(claims, path)).unwrap_or_default(),
        scopes: claims.scopes().map(str::to_owned).collect(),
        email: optional(claims, mapping.email.as_ref()),
        organisation: organisation(claims, provider),
        project: optional(claims, mapping.project.as_ref()),
        cost_centre: optional(claims, mapping.cost_centre.as_ref()),
        forwarded_claims: forwarded(claims, mapping),
        ..Principal::new(tenant.clone(), kind(claims, issuer), subject(claims, mapping)?.to_owned())
    })
}

/// A client that acts for itself is no person (RFC 9068 section 5), though both may have the same `sub`.
fn kind(claims: &Claims, issuer: &str) -> PrincipalKind {
    let subject = claims.text("sub");
    let subject_is_client = subject.is_some() && client(claims) == subject;
    // Auth0 names the grant.
    let granted_to_client = claims.text("gty") == Some("client-credentials");
    // Keycloak gives each client a user of this name.
    let keycloak = claims.text("preferred_username").and_then(|name| name.strip_prefix("service-account-"));
    let account_of_client = keycloak.is_some() && keycloak == client(claims);
    // Entra ID says so where it was asked to; else its tokens for applications have no delegated scopes, and the
    // application's own object as their subject.
    let entra_says_so = claims.text("idtyp") == Some("app");
    let entra = claims.get("scp").is_none() && claims.text("tid").is_some();
    let entra_shows_it = entra && subject.is_some() && claims.text("oid") == subject;
    let google = issuer == "https://accounts.google.com"
        && claims.text("email").is_some_and(|email| email.ends_with(".gserviceaccount.com"));
    if granted_to_client
        || subject_is_client
        || account_of_client
        || entra_says_so
        || entra_shows_it
        || google
    {
        PrincipalKind::Service
    } else {
        PrincipalKind::User
    }
}

fn subject<'a>(claims: &'a Claims, mapping: &ClaimMapping) -> Result<&'a str, IdentityFault> {
    let fault = |problem| IdentityFault::UserClaim { pointer: Excerpt::of(mapping.user.as_str()), problem };
    let value = mapping.user.look_up(claims.members()).ok_or_else(|| fault("is missing"))?;
    let subject = value.as_str().ok_or_else(|| fault("is not a string"))?;
    if subject.is_empty() {
        return Err(fault("is empty"));
    }
    if subject.len() > MAX_SUBJECT_BYTES {
        return Err(fault("is longer than 256 bytes"));
    }
    if subject.chars().any(char::is_control) {
        return Err(fault("has a control character"));
    }
    Ok(subject)
}

/// What is no text is left out.
fn texts(claims: &Claims, path: &ClaimPath) -> Vec<String> {
    match path.look_up(claims.members()) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

fn optional(claims: &Claims, path: Option<&ClaimPath>) -> Option<String> {
    let text = path?.look_up(claims.members())?.as_str()?;
    is_fit(text).then(|| text.to_owned())
}

fn is_fit(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_SUBJECT_BYTES && !text.chars().any(char::is_control)
}

/// The one that led to the tenant, or else the only one that the token names.
fn organisation(claims: &Claims, provider: &IdentityProvider) -> Option<String> {
    let named = claims.texts(provider.claims.organisation.as_ref()?)?;
    let led = named.iter().find(|named| provider.organisations.iter().any(|known| known == *named));
    let only = if let [only] = named.as_slice() { Some(only) } else { None };
    led.or(only).filter(|text| is_fit(text)).map(|text| (*text).to_owned())
}

/// By the last name of each pointer; of two that end alike, the first counts.
fn forwarded(claims: &Claims, mapping: &ClaimMapping) -> Option<String> {
    let mut object = Map::new();
    for path in &mapping.forwarded {
        if let Some(value) = path.look_up(claims.members()) {
            object.entry(path.last_name()).or_insert_with(|| value.clone());
        }
    }
    if object.is_empty() {
        return None;
    }
    let encoded = URL_SAFE_NO_PAD.encode(Value::Object(object).to_string());
    if encoded.len() > MAX_FORWARDED_BYTES {
        tracing::warn!(
            bytes = encoded.len(),
            max = MAX_FORWARDED_BYTES,
            "a token's claims are too long for the engine's header, which is left out"
        );
        return None;
    }
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Of each product: what shows a client that acts for itself, and its twins with one thing less or other.
    #[test]
    fn a_client_that_acts_for_itself_is_told_from_a_person_by_all_that_shows_it_together() {
        let google = "https://accounts.google.com";
        let robot = "ci@acme.iam.gserviceaccount.com";
        for (issuer, claims, is_client) in [
            ("https://a.test", json!({"sub": "app", "client_id": "app"}), true),
            ("https://a.test", json!({"sub": "ada", "client_id": "app"}), false),
            ("https://a.test", json!({"azp": "svc", "preferred_username": "service-account-svc"}), true),
            ("https://a.test", json!({"azp": "web", "preferred_username": "service-account-svc"}), false),
            ("https://a.test", json!({"gty": "client-credentials"}), true),
            ("https://a.test", json!({"gty": "password"}), false),
            ("https://a.test", json!({"idtyp": "app"}), true),
            ("https://a.test", json!({"idtyp": "user"}), false),
            ("https://a.test", json!({"sub": "o", "oid": "o", "tid": "t"}), true),
            ("https://a.test", json!({"sub": "o", "oid": "o", "tid": "t", "scp": "chat"}), false),
            ("https://a.test", json!({"sub": "o", "oid": "o"}), false),
            ("https://a.test", json!({"sub": "s", "oid": "o", "tid": "t"}), false),
            ("https://a.test", json!({"tid": "t"}), false),
            (google, json!({"sub": "1", "email": robot}), true),
            (google, json!({"sub": "1", "email": "ada@acme.com"}), false),
            ("https://a.test", json!({"sub": "1", "email": robot}), false),
        ] {
            let read = Claims::parse(claims.to_string().as_bytes()).unwrap();
            let expected = if is_client { PrincipalKind::Service } else { PrincipalKind::User };
            assert_eq!(kind(&read, issuer), expected, "{issuer} {claims}");
        }
    }
}
