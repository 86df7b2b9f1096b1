//! The token that guards the API. It is shown once; those before it end.

use super::OpError;
use crate::{
    db::{Database, OperatorTx, audit, operator_tokens},
    domain::{actor::Actor, sign_in::SecretText},
};
use jiff::Timestamp;
use serde_json::json;

pub async fn make_operator_token(
    db: &Database,
    actor: &Actor,
    now: Timestamp,
) -> Result<SecretText, OpError> {
    let tx = db.operator().await?;
    make(tx, actor, now).await
}

/// At the first start of all: `None` when there was a token before, whatever became of it.
pub async fn make_first_operator_token(
    db: &Database,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<SecretText>, OpError> {
    let mut tx = db.operator().await?;
    if !operator_tokens::is_first(tx.connection()).await? {
        return Ok(None);
    }
    make(tx, actor, now).await.map(Some)
}

async fn make(mut tx: OperatorTx, actor: &Actor, now: Timestamp) -> Result<SecretText, OpError> {
    let (id, token) = SecretText::operator_token()?;
    operator_tokens::revoke_all(tx.connection(), now).await?;
    operator_tokens::insert(tx.connection(), &id, &token.sha256(), now).await?;
    let entry =
        audit::Entry { actor, tenant: None, action: "make_operator_token", target: &id, detail: json!({}) };
    audit::append(tx.connection(), entry).await?;
    tx.commit().await?;
    Ok(token)
}
