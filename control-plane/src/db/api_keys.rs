//! API keys.

use super::DbError;
use crate::domain::api_key::ApiKey;
use attach_proto::id::{KeyId, TenantId};
use jiff_sqlx::{Timestamp, ToSqlx as _};
use sqlx::PgConnection;

pub(crate) async fn insert(
    connection: &mut PgConnection,
    tenant: &TenantId,
    key: &ApiKey,
    sha256: &[u8; 32],
    version: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into api_key (tenant_id, id, name, sha256, owner, groups, expires_at, created_at, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant.as_str(),
        key.id.as_str(),
        key.name,
        &sha256[..],
        key.owner,
        &key.groups,
        key.expires_at.map(|at| at.to_sqlx()) as Option<Timestamp>,
        key.created_at.to_sqlx() as Timestamp,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a key that was good until now.
pub(crate) async fn revoke(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &KeyId,
    version: i64,
) -> Result<bool, DbError> {
    let revoked = sqlx::query!(
        "update api_key set revoked_at = now(), version = $3 where tenant_id = $1 and id = $2 and revoked_at is null",
        tenant.as_str(),
        id.as_str(),
        version
    )
    .execute(connection)
    .await?;
    Ok(revoked.rows_affected() > 0)
}
