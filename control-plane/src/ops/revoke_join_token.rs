//! The end of a join token that nobody has used.

use super::OpError;
use crate::{
    db::{Database, audit, join_tokens},
    domain::actor::Actor,
};
use serde_json::json;

pub async fn revoke_join_token(db: &Database, actor: &Actor, id: &str) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    if !join_tokens::revoke(connection, id).await? {
        return Err(OpError::NotFound("join token"));
    }
    let entry =
        audit::Entry { actor, tenant: None, action: "revoke_join_token", target: id, detail: json!({}) };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}
