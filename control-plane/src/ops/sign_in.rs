//! A link becomes a session. Each link does so once.

use super::OpError;
use crate::{
    db::{Database, audit, sign_in as links},
    domain::{
        actor::Actor,
        sign_in::{SESSION_LIFETIME, SecretText},
    },
};
use jiff::Timestamp;
use serde_json::json;

/// What the session's cookie holds; `NotFound` when the link was used, has expired, or never was one.
pub async fn sign_in(db: &Database, link: &SecretText, now: Timestamp) -> Result<SecretText, OpError> {
    let session = SecretText::plain()?;
    let expires_at = now.saturating_add(SESSION_LIFETIME).unwrap_or(now);
    let mut tx = db.operator().await?;
    if !links::use_link(tx.connection(), &link.sha256(), now).await? {
        return Err(OpError::NotFound("sign-in link"));
    }
    links::insert_session(tx.connection(), &session.sha256(), now, expires_at).await?;
    let entry = audit::Entry {
        actor: &Actor::of_session(&session),
        tenant: None,
        action: "sign_in",
        target: "console",
        detail: json!({ "expires_at": expires_at }),
    };
    audit::append(tx.connection(), entry).await?;
    tx.commit().await?;
    Ok(session)
}
