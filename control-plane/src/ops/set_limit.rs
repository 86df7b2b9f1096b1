//! A limit, new or changed.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, limits, pools},
    domain::{actor::Actor, word::Word as _},
};
use attach_proto::bundle::Limit;
use serde_json::json;
use sqlx::PgConnection;
use std::{ops::RangeInclusive, time::Duration};

/// As the table has it.
pub(super) const WINDOWS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3_600);
pub(super) const WINDOW_PROBLEM: &str = "must be between a second and 366 days";

pub async fn set_limit(db: &Database, actor: &Actor, limit: &Limit) -> Result<(), OpError> {
    let mut tx = db.tenant(limit.tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    put(connection, actor, limit, version).await?;
    pools::touch_those_of(connection, tenant, version).await?;
    Ok(tx.commit().await?)
}

/// Within a transaction that touches the pools.
pub(super) async fn put(
    connection: &mut PgConnection,
    actor: &Actor,
    limit: &Limit,
    version: i64,
) -> Result<(), OpError> {
    limits::put(connection, limit, version).await.map_err(refused)?;
    let models: Vec<_> = limit.scope.models.iter().map(|of| of.as_str()).collect();
    let keys: Vec<_> = limit.scope.keys.iter().map(|of| of.as_str()).collect();
    let entry = audit::Entry {
        actor,
        tenant: Some(&limit.tenant),
        action: "set_limit",
        target: limit.id.as_str(),
        detail: json!({
            "amount": limit.amount,
            "measure": limit.measure.name(),
            "window_ms": u64::try_from(limit.window.as_millis()).ok(),
            "counter": limit.counter.name(),
            "principals": limit.scope.principals,
            "groups": limit.scope.groups,
            "models": models,
            "keys": keys,
        }),
    };
    Ok(audit::append(connection, entry).await?)
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { constraint } => match constraint.as_str() {
            "usage_limit_tenant_id_fkey" => OpError::NotFound("tenant"),
            "usage_limit_window_ms_check" => OpError::Invalid { field: "window", problem: WINDOW_PROBLEM },
            _ => OpError::Invalid { field: "amount", problem: "must be positive" },
        },
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    }
}
