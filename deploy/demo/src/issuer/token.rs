//! Minting an access token in the form of RFC 9068.

use super::key::{Key, KeyError};
use crate::clock;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// What a token says about its holder.
#[derive(Debug, Clone)]
pub struct Grant {
    pub subject: String,
    pub audience: String,
    /// From now on.
    pub lifetime: Duration,
    /// Left out of the token when empty.
    pub groups: Vec<String>,
}

/// A signed access token of the issuer: `typ` is `at+jwt`, each token has its own `jti`.
///
/// # Errors
/// When the signature cannot be made.
pub fn mint(key: &Key, issuer: &str, grant: &Grant) -> Result<String, KeyError> {
    let now = clock::now().as_second();
    let lifetime = i64::try_from(grant.lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut claims = json!({
        "iss": issuer,
        "sub": grant.subject,
        "aud": grant.audience,
        "client_id": "attach-demo",
        "iat": now,
        "exp": now.saturating_add(lifetime),
        "jti": Uuid::now_v7().to_string(),
    });
    if let Value::Object(fields) = &mut claims
        && !grant.groups.is_empty()
    {
        fields.insert("groups".to_owned(), json!(grant.groups));
    }
    key.sign(&json!({"typ": "at+jwt", "alg": key.scheme().name(), "kid": key.id()}), &claims)
}
