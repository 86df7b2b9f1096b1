//! A new secret for an API key. The one before is good for a while, so that whoever uses it can change over.

use super::OpError;
use crate::{
    db::{Database, api_keys, audit, heads, pools},
    domain::{
        actor::Actor,
        api_key::{ApiKey, KeyText},
    },
};
use attach_proto::{
    id::{KeyId, TenantId},
    key_text,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// For those who change secrets once a month. A secret that nobody has replaced by then is forgotten somewhere.
pub const MAX_OVERLAP: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Without overlap the secret before ends at once, and so does one before that: for a secret that leaked. With overlap a
/// key that still has two secrets is refused, because a third would cut off those who have the first before the time that
/// they were told.
pub async fn rotate_key(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    id: &KeyId,
    overlap: SignedDuration,
    now: Timestamp,
) -> Result<(ApiKey, KeyText), OpError> {
    let invalid = |field, problem| Err(OpError::Invalid { field, problem });
    if overlap.is_negative() || overlap > MAX_OVERLAP {
        return invalid("overlap", "must be between 0 and 31 days");
    }
    if !key_text::is_id(id.as_str()) {
        return Err(OpError::NotFound("key"));
    }
    let text = KeyText::of(id)?;
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    // From here on nobody else changes the key.
    let version = heads::next_config(connection).await?;
    let key = api_keys::find(connection, tenant, id).await?.filter(|key| key.revoked_at.is_none());
    let key = key.ok_or(OpError::NotFound("key"))?;
    if key.expires_at.is_some_and(|at| at <= now) {
        return invalid("expires_at", "is in the past: the key has ended for good; make a new one");
    }
    if !overlap.is_zero() && key.overlap(now).is_some() {
        return invalid("overlap", "must be 0 while the secret before the present one is still good");
    }
    let previous_until = if overlap.is_zero() { None } else { Some(now + overlap) };
    api_keys::rotate(connection, tenant, id, &text.sha256(), previous_until, version).await?;
    pools::touch_those_of(connection, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "rotate_key",
        target: id.as_str(),
        detail: json!({ "previous_until": previous_until }),
    };
    audit::append(connection, entry).await?;
    tx.commit().await?;
    Ok((ApiKey { previous_until, ..key }, text))
}
