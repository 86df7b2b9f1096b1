//! The end of an agent: its streams close, and nothing more is taken from it.

use super::OpError;
use crate::{
    db::{Database, agents, audit, heads},
    domain::actor::Actor,
};
use attach_proto::id::AgentId;
use serde_json::json;

pub async fn revoke_agent(db: &Database, actor: &Actor, id: &AgentId) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    // Not a change of any pool's bundle, but heard by whoever holds the agent's stream.
    heads::next_config(connection).await?;
    if !agents::revoke(connection, id).await? {
        return Err(OpError::NotFound("agent"));
    }
    let entry =
        audit::Entry { actor, tenant: None, action: "revoke_agent", target: id.as_str(), detail: json!({}) };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}
