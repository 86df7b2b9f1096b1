//! A new API key. Its text is in the answer and nowhere else.

use super::OpError;
use crate::{
    db::{Database, DbError, api_keys, audit, heads, pools},
    domain::{
        actor::Actor,
        api_key::{ApiKey, KeyText},
    },
};
use attach_proto::id::TenantId;
use jiff::Timestamp;
use serde_json::json;

/// What whoever asks for a key decides.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    /// Whom usage is recorded for.
    pub owner: String,
    pub groups: Vec<String>,
    pub expires_at: Option<Timestamp>,
}

pub async fn issue_key(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    new: NewKey,
    now: Timestamp,
) -> Result<(ApiKey, KeyText), OpError> {
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(OpError::Invalid { field: "expires_at", problem: "is in the past" });
    }
    let (id, text) = KeyText::generate()?;
    let NewKey { name, owner, groups, expires_at } = new;
    let key = ApiKey { id, name, owner, groups, expires_at, created_at: now, revoked_at: None };
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    api_keys::insert(connection, tenant, &key, &text.sha256(), version).await.map_err(refused)?;
    pools::touch_those_of(connection, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "issue_key",
        target: key.id.as_str(),
        detail: json!({ "name": key.name, "owner": key.owner, "groups": key.groups, "expires_at": key.expires_at }),
    };
    audit::append(connection, entry).await?;
    tx.commit().await?;
    Ok((key, text))
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { constraint } => match constraint.as_str() {
            "api_key_tenant_id_fkey" => OpError::NotFound("tenant"),
            "api_key_name_check" => {
                OpError::Invalid { field: "name", problem: "must have 1 to 200 characters" }
            }
            _ => OpError::Invalid { field: "owner", problem: "must have 1 to 200 characters" },
        },
        error @ (DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => error.into(),
    }
}
