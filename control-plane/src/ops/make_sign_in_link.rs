//! A link that is good for one sign-in to the console.

use super::OpError;
use crate::{
    db::{Database, audit, sign_in},
    domain::{
        actor::Actor,
        sign_in::{LINK_LIFETIME, SecretText},
    },
};
use jiff::Timestamp;
use serde_json::json;

/// What the link holds; it is kept as its hash alone.
pub async fn make_sign_in_link(db: &Database, actor: &Actor, now: Timestamp) -> Result<SecretText, OpError> {
    let secret = SecretText::plain()?;
    let expires_at = now.saturating_add(LINK_LIFETIME).unwrap_or(now);
    let mut tx = db.operator().await?;
    sign_in::insert_link(tx.connection(), &secret.sha256(), now, expires_at).await?;
    let entry = audit::Entry {
        actor,
        tenant: None,
        action: "make_sign_in_link",
        target: "console",
        detail: json!({ "expires_at": expires_at }),
    };
    audit::append(tx.connection(), entry).await?;
    tx.commit().await?;
    Ok(secret)
}
