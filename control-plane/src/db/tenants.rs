//! Tenants.

use super::DbError;
use attach_proto::bundle::{Durability, QuotaOutage, Tenant};
use sqlx::PgConnection;

pub(crate) async fn insert(
    connection: &mut PgConnection,
    tenant: &Tenant,
    version: i64,
) -> Result<(), DbError> {
    let on_quota_outage = match tenant.on_quota_outage {
        QuotaOutage::Deny => "deny",
        QuotaOutage::Allow => "allow",
    };
    let durability = match tenant.durability {
        Durability::Strict => "strict",
        Durability::Relaxed => "relaxed",
    };
    sqlx::query!(
        "insert into tenant (tenant_id, name, quota_store_id, on_quota_outage, durability, created_at, version)
         values ($1, $2, $3, $4, $5, now(), $6)",
        tenant.id.as_str(),
        tenant.name,
        tenant.quota_store.as_str(),
        on_quota_outage,
        durability,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}
