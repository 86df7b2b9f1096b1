//! A pool serves one more tenant.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, models, pools},
    domain::actor::Actor,
};
use attach_proto::id::{PoolId, TenantId};
use serde_json::json;

pub async fn add_tenant_to_pool(
    db: &Database,
    actor: &Actor,
    pool: &PoolId,
    tenant: &TenantId,
) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    pools::add_tenant(tx.connection(), pool, tenant).await.map_err(refused)?;
    pools::touch(tx.connection(), pool, version).await?;
    models::touch_those_of(tx.connection(), pool, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "add_tenant_to_pool",
        target: pool.as_str(),
        detail: json!({}),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { constraint } => match constraint.as_str() {
            "pool_membership_tenant_id_fkey" => OpError::NotFound("tenant"),
            "pool_membership_pool_id_fkey" => OpError::NotFound("pool"),
            _ => OpError::Exists("member of the pool"),
        },
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    }
}
