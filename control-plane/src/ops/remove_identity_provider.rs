//! An issuer whose tokens are good no longer.

use super::OpError;
use crate::{
    db::{Database, audit, heads, identity_providers, pools},
    domain::actor::Actor,
};
use attach_proto::id::{IdentityProviderId, TenantId};
use serde_json::json;

pub async fn remove_identity_provider(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    id: &IdentityProviderId,
) -> Result<(), OpError> {
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    if !identity_providers::remove(connection, tenant, id).await? {
        return Err(OpError::NotFound("identity provider"));
    }
    pools::touch_those_of(connection, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "remove_identity_provider",
        target: id.as_str(),
        detail: json!({}),
    };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}
