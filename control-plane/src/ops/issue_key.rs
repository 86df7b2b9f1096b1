//! A new API key, with limits of its own. Its text is in the answer and nowhere else.

use super::{OpError, set_limit};
use crate::{
    db::{Database, DbError, api_keys, audit, heads, pools},
    domain::{
        actor::Actor,
        api_key::{ApiKey, KeyText},
        key_scope::{KeyScope, Reach},
        word::Word as _,
    },
};
use attach_proto::{
    Invalid,
    bundle::{Counter, Limit, LimitScope, Measure},
    id::{KeyId, ModelName, TenantId},
};
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

/// One for a minute and one for a day of each measure.
pub const MAX_KEY_LIMITS: usize = 8;

/// What whoever asks for a key decides.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    /// Whom usage is recorded for.
    pub owner: String,
    pub groups: Vec<String>,
    /// Empty for the usual ones.
    pub scopes: Vec<KeyScope>,
    /// Empty for all.
    pub models: Vec<ModelName>,
    pub expires_at: Option<Timestamp>,
    pub limits: Vec<KeyLimit>,
}

/// A limit that holds for what comes with the key, whomever it names.
#[derive(Debug, Clone, Copy)]
pub struct KeyLimit {
    pub counter: Counter,
    pub measure: Measure,
    pub amount: u64,
    pub window: Duration,
}

pub async fn issue_key(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    new: NewKey,
    now: Timestamp,
) -> Result<(ApiKey, KeyText), OpError> {
    let (id, text) = KeyText::generate()?;
    let limits = limits_of(&new.limits, tenant, &id)?;
    let NewKey { name, owner, groups, mut scopes, models, expires_at, limits: _ } = new;
    if expires_at.is_some_and(|at| at <= now) {
        return Err(OpError::Invalid { field: "expires_at", problem: "is in the past" });
    }
    if scopes.is_empty() {
        scopes = KeyScope::USUAL.to_vec();
    }
    let reach = Reach { scopes: &scopes, groups: &groups, models: &models, until: expires_at };
    if let Some(field) = actor.may_hand_out().beyond(reach) {
        return Err(OpError::Invalid { field, problem: "is more than you have yourself" });
    }
    let key = ApiKey {
        id,
        name,
        owner,
        groups,
        scopes,
        models,
        expires_at,
        created_at: now,
        revoked_at: None,
        previous_until: None,
        last_used_at: None,
    };
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    api_keys::insert(connection, tenant, &key, &text.sha256(), version).await.map_err(refused)?;
    pools::touch_those_of(connection, tenant, version).await?;
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.name()).collect();
    let models: Vec<_> = key.models.iter().map(ModelName::as_str).collect();
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "issue_key",
        target: key.id.as_str(),
        detail: json!({
            "name": key.name,
            "owner": key.owner,
            "groups": key.groups,
            "scopes": scopes,
            "models": models,
            "expires_at": key.expires_at,
        }),
    };
    audit::append(connection, entry).await?;
    for limit in &limits {
        set_limit::put(connection, actor, limit, version).await?;
    }
    tx.commit().await?;
    Ok((key, text))
}

fn limits_of(limits: &[KeyLimit], tenant: &TenantId, key: &KeyId) -> Result<Vec<Limit>, OpError> {
    if limits.len() > MAX_KEY_LIMITS {
        return Err(OpError::Invalid { field: "limits", problem: "must be at most 8" });
    }
    let limit = |(index, limit): (usize, &KeyLimit)| {
        let KeyLimit { counter, measure, amount, window } = *limit;
        let invalid = |field: &str, problem: &str| {
            OpError::from(Invalid { path: format!("limits[{index}].{field}"), problem: problem.to_owned() })
        };
        if amount == 0 || i64::try_from(amount).is_err() {
            return Err(invalid("amount", "must be positive"));
        }
        if !set_limit::WINDOWS.contains(&window) {
            return Err(invalid("window", set_limit::WINDOW_PROBLEM));
        }
        let id = format!("key-{key}-{}", index + 1).parse().map_err(|_| OpError::NotFound("key"))?;
        let scope = LimitScope { keys: vec![key.clone()], ..LimitScope::default() };
        Ok(Limit { id, tenant: tenant.clone(), counter, scope, measure, window, amount })
    };
    limits.iter().enumerate().map(limit).collect()
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
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    }
}
