//! Pools, and which tenants they serve.

use super::DbError;
use attach_proto::id::{PoolId, TenantId};
use sqlx::PgConnection;

pub(crate) async fn insert(
    connection: &mut PgConnection,
    id: &PoolId,
    name: &str,
    revision: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into pool (id, name, revision, created_at) values ($1, $2, $3, now())",
        id.as_str(),
        name,
        revision
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn add_tenant(
    connection: &mut PgConnection,
    pool: &PoolId,
    tenant: &TenantId,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into pool_membership (tenant_id, pool_id, since) values ($1, $2, now())",
        tenant.as_str(),
        pool.as_str()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A change of a tenant's policy is a change of each pool that serves it now.
pub(crate) async fn touch_those_of(
    connection: &mut PgConnection,
    tenant: &TenantId,
    revision: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "update pool set revision = $2
         where id in (select pool_id from pool_membership where tenant_id = $1 and until is null)",
        tenant.as_str(),
        revision
    )
    .execute(connection)
    .await?;
    Ok(())
}
