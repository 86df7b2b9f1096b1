//! Keys of issuers that have not answered for so long that nobody can say what they have.

use super::OpError;
use crate::{
    db::{Database, audit, heads, issuer_key_sets},
    domain::{actor::Actor, issuer_keys::Source},
};
use serde_json::json;
use std::time::Duration;

/// Takes out those that are older than `max_stale`. Whose they were.
pub(crate) async fn withdraw_issuer_keys(db: &Database, max_stale: Duration) -> Result<Vec<Source>, OpError> {
    let mut tx = db.system().await?;
    // Almost always none, and then the head of all configuration is left alone.
    if !issuer_key_sets::any_older_than(tx.connection(), max_stale).await? {
        return Ok(Vec::new());
    }
    drop(tx);
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    let version = heads::next_config(connection).await?;
    let sources = issuer_key_sets::withdraw_older_than(connection, max_stale, version).await?;
    // Another control plane was first.
    if sources.is_empty() {
        return Ok(sources);
    }
    for source in &sources {
        issuer_key_sets::touch_pools(connection, source, version).await?;
        let entry = audit::Entry {
            actor: &Actor::System,
            tenant: None,
            action: "withdraw_issuer_keys",
            target: &source.issuer,
            detail: json!({ "older_than_seconds": max_stale.as_secs() }),
        };
        audit::append(connection, entry).await?;
    }
    tx.commit().await?;
    Ok(sources)
}
