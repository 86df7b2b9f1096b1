//! The end of a session, before its time.

use super::OpError;
use crate::{
    db::{Database, audit, sign_in as sessions},
    domain::{actor::Actor, sign_in::SecretText},
};
use jiff::Timestamp;
use serde_json::json;

pub async fn sign_out(db: &Database, session: &SecretText, now: Timestamp) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    if !sessions::end_session(tx.connection(), &session.sha256(), now).await? {
        return Err(OpError::NotFound("session"));
    }
    let entry = audit::Entry {
        actor: &Actor::of_session(session),
        tenant: None,
        action: "sign_out",
        target: "console",
        detail: json!({}),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}
