//! Quota stores.

use super::DbError;
use crate::domain::{
    page::{Page, Part},
    tenant::{QuotaStoreRecord, StoreKind},
};
use attach_proto::id::QuotaStoreId;
use sqlx::PgConnection;
use std::time::Duration;

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    page: &Page<String>,
) -> Result<Part<QuotaStoreRecord>, DbError> {
    let rows = sqlx::query!(
        "select id, kind, call_budget_ms from quota_store where $1::text is null or id > $1 order by id limit $2",
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let stores = rows.into_iter().map(|row| {
        let corrupt = || DbError::corrupt("quota_store", &row.id);
        Ok(QuotaStoreRecord {
            id: row.id.parse().map_err(|_| corrupt())?,
            kind: match row.kind.as_str() {
                "local" => StoreKind::Local,
                "redis" => StoreKind::Redis,
                _ => return Err(corrupt()),
            },
            call_budget: row
                .call_budget_ms
                .map(|budget| u64::try_from(budget).map(Duration::from_millis).map_err(|_| corrupt()))
                .transpose()?,
        })
    });
    Ok(page.part(stores.collect::<Result<_, DbError>>()?))
}

/// One in memory without an address, a Redis with one, which is sealed.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    id: &QuotaStoreId,
    redis: Option<(&str, Duration)>,
    version: i64,
) -> Result<(), DbError> {
    let kind = if redis.is_some() { "redis" } else { "local" };
    let budget = redis.map(|(_, budget)| i32::try_from(budget.as_millis()).unwrap_or(i32::MAX));
    sqlx::query!(
        "insert into quota_store (id, kind, sealed_url, call_budget_ms, version) values ($1, $2, $3, $4, $5)",
        id.as_str(),
        kind,
        redis.map(|(sealed_url, _)| sealed_url),
        budget,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}
