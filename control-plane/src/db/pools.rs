//! Pools, and which tenants they serve.

use super::DbError;
use crate::domain::{
    page::{Page, Part},
    tenant::{Membership, PoolRecord},
};
use attach_proto::id::{PoolId, TenantId};
use jiff_sqlx::Timestamp;
use sqlx::PgConnection;

struct Row {
    id: String,
    name: String,
    revision: i64,
    created_at: Timestamp,
}

impl TryFrom<Row> for PoolRecord {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id.parse().map_err(|_| DbError::corrupt("pool", &row.id))?,
            name: row.name,
            revision: row.revision,
            created_at: row.created_at.to_jiff(),
        })
    }
}

struct MemberRow {
    tenant_id: String,
    pool_id: String,
    since: Timestamp,
    until: Option<Timestamp>,
}

impl TryFrom<MemberRow> for Membership {
    type Error = DbError;

    fn try_from(row: MemberRow) -> Result<Self, DbError> {
        let corrupt = || DbError::corrupt("pool_membership", &row.tenant_id);
        Ok(Self {
            tenant: row.tenant_id.parse().map_err(|_| corrupt())?,
            pool: row.pool_id.parse().map_err(|_| corrupt())?,
            since: row.since.to_jiff(),
            until: row.until.map(Timestamp::to_jiff),
        })
    }
}

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    page: &Page<String>,
) -> Result<Part<PoolRecord>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, revision, created_at as "created_at: Timestamp" from pool
           where $1::text is null or id > $1 order by id limit $2"#,
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let pools = rows.into_iter().map(PoolRecord::try_from).collect::<Result<_, _>>()?;
    Ok(page.part(pools))
}

pub(crate) async fn find(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Option<PoolRecord>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, name, revision, created_at as "created_at: Timestamp" from pool where id = $1"#,
        pool.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(PoolRecord::try_from).transpose()
}

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

/// The tenants that it serves now, in the order of their ids.
pub(crate) async fn members(
    connection: &mut PgConnection,
    pool: &PoolId,
    page: &Page<String>,
) -> Result<Part<Membership>, DbError> {
    let rows = sqlx::query_as!(
        MemberRow,
        r#"select tenant_id, pool_id, since as "since: Timestamp", until as "until: Timestamp"
           from pool_membership
           where pool_id = $1 and until is null and ($2::text is null or tenant_id > $2)
           order by tenant_id limit $3"#,
        pool.as_str(),
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let members = rows.into_iter().map(Membership::try_from).collect::<Result<_, _>>()?;
    Ok(page.part(members))
}

/// The pools that serve a tenant now.
pub(crate) async fn of_tenant(
    connection: &mut PgConnection,
    tenant: &TenantId,
) -> Result<Vec<Membership>, DbError> {
    let rows = sqlx::query_as!(
        MemberRow,
        r#"select tenant_id, pool_id, since as "since: Timestamp", until as "until: Timestamp"
           from pool_membership where tenant_id = $1 and until is null order by pool_id"#,
        tenant.as_str(),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Membership::try_from).collect()
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

/// Whether the pool served the tenant until now. The membership stays on record: usage from before is still taken.
pub(crate) async fn end_membership(
    connection: &mut PgConnection,
    pool: &PoolId,
    tenant: &TenantId,
) -> Result<bool, DbError> {
    let ended = sqlx::query!(
        "update pool_membership set until = greatest(now(), since + interval '1 microsecond')
         where tenant_id = $1 and pool_id = $2 and until is null",
        tenant.as_str(),
        pool.as_str()
    )
    .execute(connection)
    .await?;
    Ok(ended.rows_affected() > 0)
}

/// A change of what one pool serves. Whether there is such a pool.
pub(crate) async fn touch(
    connection: &mut PgConnection,
    pool: &PoolId,
    revision: i64,
) -> Result<bool, DbError> {
    let touched = sqlx::query!("update pool set revision = $2 where id = $1", pool.as_str(), revision)
        .execute(connection)
        .await?;
    Ok(touched.rows_affected() > 0)
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
