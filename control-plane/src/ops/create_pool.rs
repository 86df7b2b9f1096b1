//! A pool: gateways that serve the same tenants.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, pools},
    domain::actor::Actor,
};
use attach_proto::id::PoolId;
use serde_json::json;

pub async fn create_pool(db: &Database, actor: &Actor, id: &PoolId, name: &str) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    pools::insert(tx.connection(), id, name, version).await.map_err(|error| match error {
        DbError::Conflict { constraint } if constraint == "pool_pkey" => OpError::Exists("pool"),
        DbError::Conflict { .. } => {
            OpError::Invalid { field: "name", problem: "must have 1 to 200 characters" }
        }
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    })?;
    let entry = audit::Entry {
        actor,
        tenant: None,
        action: "create_pool",
        target: id.as_str(),
        detail: json!({ "name": name }),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}
