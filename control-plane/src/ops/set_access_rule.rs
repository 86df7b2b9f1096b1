//! Who may do what, new or changed.

use super::OpError;
use crate::{
    db::{Database, DbError, access_rules, audit, heads, pools},
    domain::actor::Actor,
};
use attach_proto::bundle::AccessRule;
use serde_json::json;

pub async fn set_access_rule(db: &Database, actor: &Actor, rule: &AccessRule) -> Result<(), OpError> {
    let mut tx = db.tenant(rule.tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    access_rules::put(connection, rule, version).await.map_err(|error| match error {
        DbError::Conflict { .. } => OpError::NotFound("tenant"),
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    })?;
    pools::touch_those_of(connection, tenant, version).await?;
    let permissions: Vec<_> = rule.permissions.iter().map(|of| of.name()).collect();
    let models: Vec<_> = rule.models.iter().map(|of| of.as_str()).collect();
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "set_access_rule",
        target: rule.id.as_str(),
        detail: json!({
            "principals": rule.principals, "groups": rule.groups, "models": models, "permissions": permissions,
        }),
    };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}
