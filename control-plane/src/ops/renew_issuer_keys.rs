//! An issuer's keys as it has them now, for the gateways of whoever goes by them.

use super::OpError;
use crate::{
    db::{Database, audit, heads, issuer_key_sets},
    domain::{
        actor::Actor,
        issuer_keys::{Found, Pauses, Source},
    },
};
use serde_json::json;

/// Whether they changed: then there is a revision with them, and an entry in the trail. The issuer is asked again after `pauses`.
pub(crate) async fn renew_issuer_keys(
    db: &Database,
    source: &Source,
    found: &Found,
    pauses: Pauses,
) -> Result<bool, OpError> {
    let mut tx = db.system().await?;
    if issuer_key_sets::confirm(tx.connection(), source, found, pauses.refresh).await? {
        tx.commit().await?;
        return Ok(false);
    }
    drop(tx);
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    let version = heads::next_config(connection).await?;
    // Nobody goes by it any more.
    if !issuer_key_sets::replace(connection, source, found, pauses, version).await? {
        return Ok(false);
    }
    issuer_key_sets::touch_pools(connection, source, version).await?;
    let entry = audit::Entry {
        actor: &Actor::System,
        tenant: None,
        action: "renew_issuer_keys",
        target: &source.issuer,
        detail: json!({ "jwks_uri": found.jwks_uri, "keys": found.keys, "skipped_keys": found.skipped_keys }),
    };
    audit::append(connection, entry).await?;
    tx.commit().await?;
    Ok(true)
}
