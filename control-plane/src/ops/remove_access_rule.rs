//! A rule that holds no longer.

use super::OpError;
use crate::{
    db::{Database, access_rules, audit, heads, pools},
    domain::actor::Actor,
};
use attach_proto::id::{AccessRuleId, TenantId};
use serde_json::json;

pub async fn remove_access_rule(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    id: &AccessRuleId,
) -> Result<(), OpError> {
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    if !access_rules::remove(connection, tenant, id).await? {
        return Err(OpError::NotFound("access rule"));
    }
    pools::touch_those_of(connection, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "remove_access_rule",
        target: id.as_str(),
        detail: json!({}),
    };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}
