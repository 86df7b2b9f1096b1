//! From a verified token's claims to a [`Principal`], as the provider's mapping says.

use super::{
    claims::{Claims, unescape},
    excerpt::Excerpt,
    fault::IdentityFault,
    principal::Principal,
};
use attach_proto::{
    bundle::{ClaimMapping, IdentityProvider, JsonPointer},
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
        tenant: tenant.clone(),
        kind: kind(claims),
        subject: subject(claims, mapping)?.to_owned(),
        issuer: Some(issuer.to_owned()),
        provider: Some(id.clone()),
        key: None,
        groups: groups(claims, mapping),
        project: project(claims, mapping),
        forwarded_claims: forwarded(claims, mapping),
    })
}

/// A client that acts for itself is no person (RFC 9068 section 5), though both may have the same `sub`.
fn kind(claims: &Claims) -> PrincipalKind {
    // Auth0 names the grant.
    let granted_to_client = claims.text("gty") == Some("client-credentials");
    let subject = claims.text("sub");
    let clients = [claims.text("azp"), claims.text("client_id")];
    let subject_is_client = subject.is_some() && clients.contains(&subject);
    // Keycloak gives each client a user of this name.
    let keycloak = claims.text("preferred_username").and_then(|name| name.strip_prefix("service-account-"));
    let account_of_client = keycloak.is_some() && keycloak == claims.text("client_id");
    if granted_to_client || subject_is_client || account_of_client {
        PrincipalKind::Service
    } else {
        PrincipalKind::User
    }
}

fn subject<'a>(claims: &'a Claims, mapping: &ClaimMapping) -> Result<&'a str, IdentityFault> {
    let fault = |problem| IdentityFault::UserClaim { pointer: Excerpt::of(mapping.user.as_str()), problem };
    let value = claims.at(mapping.user.as_str()).ok_or_else(|| fault("is missing"))?;
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

fn groups(claims: &Claims, mapping: &ClaimMapping) -> Vec<String> {
    match claims.at(mapping.groups.as_str()) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

fn project(claims: &Claims, mapping: &ClaimMapping) -> Option<String> {
    let project = claims.at(mapping.project.as_ref()?.as_str())?.as_str()?;
    let fit =
        !project.is_empty() && project.len() <= MAX_SUBJECT_BYTES && !project.chars().any(char::is_control);
    fit.then(|| project.to_owned())
}

/// By the last name of each pointer; of two that end alike, the first counts.
fn forwarded(claims: &Claims, mapping: &ClaimMapping) -> Option<String> {
    let mut object = Map::new();
    for pointer in &mapping.forwarded {
        if let Some(value) = claims.at(pointer.as_str()) {
            object.entry(last_name(pointer)).or_insert_with(|| value.clone());
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

fn last_name(pointer: &JsonPointer) -> String {
    unescape(pointer.as_str().rsplit('/').next().unwrap_or_default())
}
