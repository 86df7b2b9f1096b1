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
use attach_proto::{did::DidPolicy, id::TenantId, v1};
use serde_json::json;
use sqlx::PgConnection;

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
    if let Some(Some(policy)) = &change.did {
        check_dids(tx.connection(), tenant, policy).await?;
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
            "did": change.did.as_ref().map(|policy| policy.as_ref().map(v1::DidPolicy::from)),
        }),
    };
    audit::append(tx.connection(), entry).await?;
    tx.commit().await?;
    Ok(record)
}

/// The head of the configuration is locked by now, so nobody else sets one meanwhile.
async fn check_dids(
    connection: &mut PgConnection,
    tenant: &TenantId,
    policy: &DidPolicy,
) -> Result<(), OpError> {
    let others = tenants::did_policies_beside(connection, tenant, &policy.audiences).await?;
    if others.iter().any(|other| policy.overlaps(other)) {
        let problem = "lets a DID call that may call for another tenant by the same audience";
        return Err(OpError::Invalid { field: "did", problem });
    }
    Ok(())
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { .. } => {
            OpError::Invalid { field: "name", problem: "must have 1 to 200 characters" }
        }
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    }
}
