//! Tenants.

use super::DbError;
use crate::domain::{
    page::{Page, Part},
    tenant::{TenantChange, TenantRecord},
    word::Word,
};
use attach_proto::{
    bundle::{Durability, QuotaOutage, Tenant},
    did::DidPolicy,
    id::TenantId,
    v1,
};
use jiff_sqlx::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;

struct Row {
    tenant_id: String,
    name: String,
    quota_store_id: String,
    on_quota_outage: String,
    durability: String,
    did_policy: Option<Value>,
    created_at: Timestamp,
}

impl TryFrom<Row> for TenantRecord {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let corrupt = || DbError::corrupt("tenant", &row.tenant_id);
        let tenant = Tenant {
            id: row.tenant_id.parse().map_err(|_| corrupt())?,
            name: row.name,
            quota_store: row.quota_store_id.parse().map_err(|_| corrupt())?,
            on_quota_outage: QuotaOutage::from_name(&row.on_quota_outage).ok_or_else(corrupt)?,
            durability: Durability::from_name(&row.durability).ok_or_else(corrupt)?,
            did: row.did_policy.map(|json| did_policy(json).ok_or_else(corrupt)).transpose()?,
        };
        Ok(Self { tenant, created_at: row.created_at.to_jiff() })
    }
}

fn did_policy(json: Value) -> Option<DidPolicy> {
    let wire: v1::DidPolicy = serde_json::from_value(json).ok()?;
    wire.try_into().ok()
}

fn document(policy: &DidPolicy) -> Result<Value, DbError> {
    serde_json::to_value(v1::DidPolicy::from(policy))
        .map_err(|error| DbError::Statement(sqlx::Error::Encode(Box::new(error))))
}

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    page: &Page<String>,
) -> Result<Part<TenantRecord>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select tenant_id, name, quota_store_id, on_quota_outage, durability, did_policy,
               created_at as "created_at: Timestamp"
           from tenant where $1::text is null or tenant_id > $1 order by tenant_id limit $2"#,
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let tenants = rows.into_iter().map(TenantRecord::try_from).collect::<Result<_, _>>()?;
    Ok(page.part(tenants))
}

pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: &TenantId,
) -> Result<Option<TenantRecord>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"select tenant_id, name, quota_store_id, on_quota_outage, durability, did_policy,
               created_at as "created_at: Timestamp"
           from tenant where tenant_id = $1"#,
        tenant.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(TenantRecord::try_from).transpose()
}

pub(crate) async fn insert(
    connection: &mut PgConnection,
    tenant: &Tenant,
    version: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into tenant (tenant_id, name, quota_store_id, on_quota_outage, durability, did_policy, created_at, version)
         values ($1, $2, $3, $4, $5, $6, now(), $7)",
        tenant.id.as_str(),
        tenant.name,
        tenant.quota_store.as_str(),
        tenant.on_quota_outage.name(),
        tenant.durability.name(),
        tenant.did.as_ref().map(document).transpose()?,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a tenant.
pub(crate) async fn update(
    connection: &mut PgConnection,
    tenant: &TenantId,
    change: &TenantChange,
    version: i64,
) -> Result<bool, DbError> {
    let updated = sqlx::query!(
        "update tenant set name = coalesce($2, name), on_quota_outage = coalesce($3, on_quota_outage),
             durability = coalesce($4, durability),
             did_policy = case when $5 then $6 else did_policy end, version = $7
         where tenant_id = $1",
        tenant.as_str(),
        change.name,
        change.on_quota_outage.map(Word::name),
        change.durability.map(Word::name),
        change.did.is_some(),
        change.did.as_ref().and_then(Option::as_ref).map(document).transpose()?,
        version,
    )
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() > 0)
}

/// The policies of other tenants that have one of these audiences.
pub(crate) async fn did_policies_beside(
    connection: &mut PgConnection,
    tenant: &TenantId,
    audiences: &[String],
) -> Result<Vec<DidPolicy>, DbError> {
    let rows = sqlx::query!(
        r#"select tenant_id, did_policy as "did_policy!" from tenant
           where tenant_id <> $1 and did_policy is not null and did_policy -> 'audiences' ?| $2"#,
        tenant.as_str(),
        audiences,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| did_policy(row.did_policy).ok_or_else(|| DbError::corrupt("tenant", &row.tenant_id)))
        .collect()
}
