//! A tenant, and the pool that serves it from the start.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, models, pools, tenants},
    domain::actor::Actor,
};
use attach_proto::{bundle::Tenant, id::PoolId};
use serde_json::json;

pub async fn create_tenant(
    db: &Database,
    actor: &Actor,
    tenant: &Tenant,
    pool: &PoolId,
) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    tenants::insert(tx.connection(), tenant, version).await.map_err(refused)?;
    pools::add_tenant(tx.connection(), pool, &tenant.id).await.map_err(refused)?;
    pools::touch_those_of(tx.connection(), &tenant.id, version).await?;
    models::touch_those_of(tx.connection(), pool, &tenant.id, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(&tenant.id),
        action: "create_tenant",
        target: tenant.id.as_str(),
        detail: json!({ "name": tenant.name, "pool": pool.as_str(), "quota_store": tenant.quota_store.as_str() }),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { constraint } => match constraint.as_str() {
            "tenant_pkey" => OpError::Exists("tenant"),
            "tenant_quota_store_id_fkey" => OpError::NotFound("quota store"),
            "pool_membership_pool_id_fkey" => OpError::NotFound("pool"),
            _ => OpError::Invalid { field: "name", problem: "must have 1 to 200 characters" },
        },
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    }
}
