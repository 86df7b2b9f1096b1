//! A limit that holds no longer.

use super::OpError;
use crate::{
    db::{Database, audit, heads, limits, pools},
    domain::actor::Actor,
};
use attach_proto::id::{LimitId, TenantId};
use serde_json::json;

pub async fn remove_limit(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    id: &LimitId,
) -> Result<(), OpError> {
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    if !limits::remove(connection, tenant, id).await? {
        return Err(OpError::NotFound("limit"));
    }
    pools::touch_those_of(connection, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "remove_limit",
        target: id.as_str(),
        detail: json!({}),
    };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}
