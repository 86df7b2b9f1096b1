//! A tenant's limits.

use super::DbError;
use crate::domain::{
    page::{Page, Part},
    word::Word as _,
};
use attach_proto::{
    bundle::{Counter, Limit, LimitScope, Measure},
    id::{KeyId, LimitId, TenantId},
};
use sqlx::PgConnection;
use std::time::Duration;

/// Ten for each of the 200 keys of a full part of their list; the limits' own page has the rest.
const MOST_OF_KEYS: i64 = 2_000;

struct Row {
    tenant_id: String,
    id: String,
    counter: String,
    measure: String,
    window_ms: i64,
    amount: i64,
    principals: Vec<String>,
    groups: Vec<String>,
    models: Vec<String>,
    keys: Vec<String>,
}

impl TryFrom<Row> for Limit {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let corrupt = || DbError::corrupt("usage_limit", &row.id);
        Ok(Self {
            id: row.id.parse().map_err(|_| corrupt())?,
            tenant: row.tenant_id.parse().map_err(|_| corrupt())?,
            counter: Counter::from_name(&row.counter).ok_or_else(corrupt)?,
            scope: LimitScope {
                principals: row.principals,
                groups: row.groups,
                models: row
                    .models
                    .iter()
                    .map(|name| name.parse().map_err(|_| corrupt()))
                    .collect::<Result<_, _>>()?,
                keys: row
                    .keys
                    .iter()
                    .map(|id| id.parse().map_err(|_| corrupt()))
                    .collect::<Result<_, _>>()?,
            },
            measure: Measure::from_name(&row.measure).ok_or_else(corrupt)?,
            window: u64::try_from(row.window_ms).map(Duration::from_millis).map_err(|_| corrupt())?,
            amount: u64::try_from(row.amount).map_err(|_| corrupt())?,
        })
    }
}

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    tenant: &TenantId,
    page: &Page<String>,
) -> Result<Part<Limit>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        "select tenant_id, id, counter, measure, window_ms, amount, principals, groups, models, keys
         from usage_limit
         where tenant_id = $1 and ($2::text is null or id > $2) order by id limit $3",
        tenant.as_str(),
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let limits = rows.into_iter().map(Limit::try_from).collect::<Result<_, _>>()?;
    Ok(page.part(limits))
}

/// Those that name one of these keys, in the order of their ids.
pub(crate) async fn of_keys(
    connection: &mut PgConnection,
    tenant: &TenantId,
    keys: &[String],
) -> Result<Vec<Limit>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        "select tenant_id, id, counter, measure, window_ms, amount, principals, groups, models, keys
         from usage_limit
         where tenant_id = $1 and keys && $2 order by id limit $3",
        tenant.as_str(),
        keys,
        MOST_OF_KEYS,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Limit::try_from).collect()
}

pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &LimitId,
) -> Result<Option<Limit>, DbError> {
    let row = sqlx::query_as!(
        Row,
        "select tenant_id, id, counter, measure, window_ms, amount, principals, groups, models, keys
         from usage_limit
         where tenant_id = $1 and id = $2",
        tenant.as_str(),
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(Limit::try_from).transpose()
}

/// Makes the limit, or replaces the one of its id.
pub(crate) async fn put(connection: &mut PgConnection, limit: &Limit, version: i64) -> Result<(), DbError> {
    let Limit { id, tenant, counter, scope, measure, window, amount } = limit;
    let models: Vec<String> = scope.models.iter().map(ToString::to_string).collect();
    let keys: Vec<String> = scope.keys.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "insert into usage_limit
             (tenant_id, id, counter, measure, window_ms, amount, principals, groups, models, keys, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (tenant_id, id) do update set
             counter = excluded.counter, measure = excluded.measure, window_ms = excluded.window_ms,
             amount = excluded.amount, principals = excluded.principals, groups = excluded.groups,
             models = excluded.models, keys = excluded.keys, version = excluded.version",
        tenant.as_str(),
        id.as_str(),
        counter.name(),
        measure.name(),
        i64::try_from(window.as_millis()).unwrap_or(i64::MAX),
        i64::try_from(*amount).unwrap_or(i64::MAX),
        &scope.principals,
        &scope.groups,
        &models,
        &keys,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a limit.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &LimitId,
) -> Result<bool, DbError> {
    let removed = sqlx::query!(
        "delete from usage_limit where tenant_id = $1 and id = $2",
        tenant.as_str(),
        id.as_str()
    )
    .execute(connection)
    .await?;
    Ok(removed.rows_affected() > 0)
}

/// Those that are for this key and no other; their ids.
pub(crate) async fn remove_those_of_key(
    connection: &mut PgConnection,
    tenant: &TenantId,
    key: &KeyId,
) -> Result<Vec<String>, DbError> {
    let removed = sqlx::query_scalar!(
        "delete from usage_limit where tenant_id = $1 and keys = array[$2::text] returning id",
        tenant.as_str(),
        key.as_str()
    )
    .fetch_all(connection)
    .await?;
    Ok(removed)
}
