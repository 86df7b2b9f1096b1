//! An authority for limits: a Redis, or the memory of a tenant's only gateway.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, quota_stores},
    domain::actor::Actor,
    seal::Sealer,
};
use attach_proto::bundle::{QuotaStore, QuotaStoreKind};
use serde_json::json;

/// The longest that a request may wait for its store; the database holds to it too.
const LONGEST_CALL_BUDGET_MS: u128 = 60_000;

/// The address may hold a password, so it is sealed; nobody is shown it again.
pub async fn create_quota_store(
    db: &Database,
    sealer: &Sealer,
    actor: &Actor,
    store: &QuotaStore,
) -> Result<(), OpError> {
    let redis = match &store.kind {
        QuotaStoreKind::Local => None,
        QuotaStoreKind::Redis { url, call_budget } => {
            if !(1..=LONGEST_CALL_BUDGET_MS).contains(&call_budget.as_millis()) {
                let problem = "must be between 1 and 60000 milliseconds";
                return Err(OpError::Invalid { field: "call_budget_ms", problem });
            }
            let purpose = format!("quota_store/{}", store.id);
            Some((sealer.seal(&purpose, url.as_str().as_bytes())?, *call_budget))
        }
    };
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    let sealed = redis.as_ref().map(|(url, budget)| (url.as_str(), *budget));
    quota_stores::insert(tx.connection(), &store.id, sealed, version).await.map_err(|error| match error {
        DbError::Conflict { .. } => OpError::Exists("quota store"),
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    })?;
    let entry = audit::Entry {
        actor,
        tenant: None,
        action: "create_quota_store",
        target: store.id.as_str(),
        detail: json!({ "kind": if redis.is_some() { "redis" } else { "local" } }),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}
