//! A limit, new or changed.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, limits, pools},
    domain::{actor::Actor, word::Word as _},
};
use attach_proto::bundle::Limit;
use serde_json::json;

pub async fn set_limit(db: &Database, actor: &Actor, limit: &Limit) -> Result<(), OpError> {
    let mut tx = db.tenant(limit.tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    limits::put(connection, limit, version).await.map_err(refused)?;
    pools::touch_those_of(connection, tenant, version).await?;
    let models: Vec<_> = limit.scope.models.iter().map(|of| of.as_str()).collect();
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
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
        }),
    };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { constraint } => match constraint.as_str() {
            "usage_limit_tenant_id_fkey" => OpError::NotFound("tenant"),
            "usage_limit_window_ms_check" => {
                OpError::Invalid { field: "window", problem: "must be between a second and 366 days" }
            }
            _ => OpError::Invalid { field: "amount", problem: "must be positive" },
        },
        error @ (DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => error.into(),
    }
}
