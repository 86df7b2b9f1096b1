//! A tenant's limits.

use super::DbError;
use attach_proto::{
    bundle::{Counter, Limit, Measure},
    id::{LimitId, TenantId},
};
use sqlx::PgConnection;

/// Makes the limit, or replaces the one of its id.
pub(crate) async fn put(connection: &mut PgConnection, limit: &Limit, version: i64) -> Result<(), DbError> {
    let Limit { id, tenant, counter, scope, measure, window, amount } = limit;
    let counter = match counter {
        Counter::Shared => "shared",
        Counter::EachPrincipal => "each_principal",
        Counter::EachModel => "each_model",
        Counter::EachPrincipalAndModel => "each_principal_and_model",
    };
    let measure = match measure {
        Measure::Requests => "requests",
        Measure::InputTokens => "input_tokens",
        Measure::OutputTokens => "output_tokens",
        Measure::TotalTokens => "total_tokens",
    };
    let models: Vec<String> = scope.models.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "insert into usage_limit
             (tenant_id, id, counter, measure, window_ms, amount, principals, groups, models, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (tenant_id, id) do update set
             counter = excluded.counter, measure = excluded.measure, window_ms = excluded.window_ms,
             amount = excluded.amount, principals = excluded.principals, groups = excluded.groups,
             models = excluded.models, version = excluded.version",
        tenant.as_str(),
        id.as_str(),
        counter,
        measure,
        i64::try_from(window.as_millis()).unwrap_or(i64::MAX),
        i64::try_from(*amount).unwrap_or(i64::MAX),
        &scope.principals,
        &scope.groups,
        &models,
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
