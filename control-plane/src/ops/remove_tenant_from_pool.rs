//! A pool serves a tenant no longer. Usage from before is still taken, so the membership stays on record.

use super::OpError;
use crate::{
    db::{Database, audit, heads, models, pools},
    domain::actor::Actor,
};
use attach_proto::id::{PoolId, TenantId};
use serde_json::json;

pub async fn remove_tenant_from_pool(
    db: &Database,
    actor: &Actor,
    pool: &PoolId,
    tenant: &TenantId,
) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    if !pools::end_membership(tx.connection(), pool, tenant).await? {
        return Err(OpError::NotFound("member of the pool"));
    }
    pools::touch(tx.connection(), pool, version).await?;
    models::touch_those_of(tx.connection(), pool, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "remove_tenant_from_pool",
        target: pool.as_str(),
        detail: json!({}),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}
