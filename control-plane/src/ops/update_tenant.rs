//! A tenant's name, and what holds when something of it is out of order.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, pools, tenants},
    domain::{
        actor::Actor,
        tenant::{TenantChange, TenantRecord},
        word::Word,
    },
};
use attach_proto::id::TenantId;
use serde_json::json;

/// The tenant as it is then.
pub async fn update_tenant(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    change: &TenantChange,
) -> Result<TenantRecord, OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    if !tenants::update(tx.connection(), tenant, change, version).await.map_err(refused)? {
        return Err(OpError::NotFound("tenant"));
    }
    pools::touch_those_of(tx.connection(), tenant, version).await?;
    let record = tenants::find(tx.connection(), tenant).await?.ok_or(OpError::NotFound("tenant"))?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "update_tenant",
        target: tenant.as_str(),
        detail: json!({
            "name": change.name,
            "on_quota_outage": change.on_quota_outage.map(Word::name),
            "durability": change.durability.map(Word::name),
        }),
    };
    audit::append(tx.connection(), entry).await?;
    tx.commit().await?;
    Ok(record)
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { .. } => {
            OpError::Invalid { field: "name", problem: "must have 1 to 200 characters" }
        }
        error @ (DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => error.into(),
    }
}
