//! The end of an API key, for good.

use super::OpError;
use crate::{
    db::{Database, api_keys, audit, heads, limits, pools},
    domain::actor::Actor,
};
use attach_proto::id::{KeyId, TenantId};
use serde_json::json;

/// The limits that were for this key alone end with it.
pub async fn revoke_key(db: &Database, actor: &Actor, tenant: &TenantId, id: &KeyId) -> Result<(), OpError> {
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    if !api_keys::revoke(connection, tenant, id, version).await? {
        return Err(OpError::NotFound("key"));
    }
    let ended = limits::remove_those_of_key(connection, tenant, id).await?;
    pools::touch_those_of(connection, tenant, version).await?;
    let revoked = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "revoke_key",
        target: id.as_str(),
        detail: json!({}),
    };
    audit::append(connection, revoked).await?;
    for limit in &ended {
        let removed = audit::Entry {
            actor,
            tenant: Some(tenant),
            action: "remove_limit",
            target: limit,
            detail: json!({ "with_key": id.as_str() }),
        };
        audit::append(connection, removed).await?;
    }
    Ok(tx.commit().await?)
}
