//! A model that a pool offers no longer.

use super::OpError;
use crate::{
    db::{Database, audit, heads, models, pools},
    domain::actor::Actor,
};
use attach_proto::id::{ModelName, PoolId};
use serde_json::json;

pub async fn remove_model(
    db: &Database,
    actor: &Actor,
    pool: &PoolId,
    name: &ModelName,
) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    if !pools::touch(tx.connection(), pool, version).await? {
        return Err(OpError::NotFound("pool"));
    }
    if !models::remove(tx.connection(), pool, name).await? {
        return Err(OpError::NotFound("model"));
    }
    let entry = audit::Entry {
        actor,
        tenant: None,
        action: "remove_model",
        target: name.as_str(),
        detail: json!({ "pool": pool.as_str() }),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}
