//! API keys.

use super::{
    extract::{Body, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
    tenants,
    words::{Counter, Measure},
};
use crate::{
    db::api_keys,
    domain::{api_key, key_scope},
    ops::{KeyLimit, NewKey, OpError, issue_key, revoke_key, rotate_key},
    state::App,
};
use attach_proto::id::{KeyId, ModelName, TenantId};
use axum::{Json, extract::State, http::StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyScope {
    /// Asking a model.
    Inference,
    /// Lists of models and the like.
    Read,
    /// To change what an engine has, where an access rule allows it to the key's owner.
    Admin,
    /// For applications: to name the end user of each request, by `X-Attach-On-Behalf-Of` or `X-OpenWebUI-User-Id`. Usage
    /// and limits are then that user's.
    ActAs,
}

impl From<key_scope::KeyScope> for KeyScope {
    fn from(scope: key_scope::KeyScope) -> Self {
        match scope {
            key_scope::KeyScope::Inference => Self::Inference,
            key_scope::KeyScope::Read => Self::Read,
            key_scope::KeyScope::Admin => Self::Admin,
            key_scope::KeyScope::ActAs => Self::ActAs,
        }
    }
}

impl From<KeyScope> for key_scope::KeyScope {
    fn from(scope: KeyScope) -> Self {
        match scope {
            KeyScope::Inference => Self::Inference,
            KeyScope::Read => Self::Read,
            KeyScope::Admin => Self::Admin,
            KeyScope::ActAs => Self::ActAs,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    id: String,
    name: String,
    /// Whom usage is recorded for.
    owner: String,
    groups: Vec<String>,
    scopes: Vec<KeyScope>,
    /// Empty: all that the access rules grant.
    models: Vec<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// When the secret before the present one ends, or ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_until: Option<Timestamp>,
    /// To the minute, as soon as its gateway has reported the usage.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
}

impl From<api_key::ApiKey> for ApiKey {
    fn from(key: api_key::ApiKey) -> Self {
        let api_key::ApiKey {
            id,
            name,
            owner,
            groups,
            scopes,
            models,
            expires_at,
            created_at,
            revoked_at,
            previous_until,
            last_used_at,
        } = key;
        Self {
            id: id.into(),
            name,
            owner,
            groups,
            scopes: scopes.into_iter().map(Into::into).collect(),
            models: models.into_iter().map(Into::into).collect(),
            expires_at,
            created_at,
            revoked_at,
            previous_until,
            last_used_at,
        }
    }
}

/// A tenant's keys, revoked ones too, in the order of their ids.
#[utoipa::path(get, path = "/tenants/{tenant}/api-keys", operation_id = "list_api_keys", tag = "API keys",
    params(("tenant" = String, Path), Paging), responses((status = 200, body = List<ApiKey>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<ApiKey>>, Problem> {
    let page = paging.page()?;
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = api_keys::list(connection, tenant, &page).await?;
    Ok(Json(List::new(part, |key| key.id.to_string(), ApiKey::from)))
}

/// A limit that holds for what comes with this key, whomever it names. It is one of the tenant's limits, called
/// `key-<id of the key>-<number>`, and ends when the key is revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKeyLimit {
    /// `shared` without a word: all that comes with the key together.
    counter: Option<Counter>,
    measure: Measure,
    /// At least 1.
    amount: u64,
    /// 1 to 31622400 (366 days). Windows slide.
    window_seconds: u32,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// 1 to 200 characters.
    name: String,
    /// Whom usage is recorded for. 1 to 200 characters.
    owner: String,
    #[serde(default)]
    groups: Vec<String>,
    /// `inference` and `read` when left out.
    #[serde(default)]
    scopes: Vec<KeyScope>,
    /// All that the access rules grant when left out.
    #[serde(default)]
    models: Vec<String>,
    /// Good for ever without a word.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// At most 8.
    #[serde(default)]
    limits: Vec<NewKeyLimit>,
}

/// The only answer that has the key itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedApiKey {
    #[serde(flatten)]
    key: ApiKey,
    /// What a caller sends. It is kept nowhere: note it now.
    secret: String,
}

impl IssuedApiKey {
    fn new((key, text): (api_key::ApiKey, api_key::KeyText)) -> Self {
        Self { key: key.into(), secret: text.as_str().to_owned() }
    }
}

#[utoipa::path(post, path = "/tenants/{tenant}/api-keys", operation_id = "issue_api_key", tag = "API keys",
    params(("tenant" = String, Path)), request_body = NewApiKey, responses((status = 201, body = IssuedApiKey)))]
pub(super) async fn issue(
    Operator(actor): Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Body(new): Body<NewApiKey>,
) -> Result<(StatusCode, Json<IssuedApiKey>), Problem> {
    let NewApiKey { name, owner, groups, scopes, models, expires_at, limits } = new;
    let model = |(index, name): (usize, String)| {
        let problem = |problem: attach_proto::id::InvalidId| {
            Problem::field(format!("/models/{index}"), problem.to_string())
        };
        name.parse::<ModelName>().map_err(problem)
    };
    let limit = |limit: NewKeyLimit| KeyLimit {
        counter: limit.counter.unwrap_or(Counter::Shared).into(),
        measure: limit.measure.into(),
        amount: limit.amount,
        window: Duration::from_secs(limit.window_seconds.into()),
    };
    let new = NewKey {
        name,
        owner,
        groups,
        scopes: scopes.into_iter().map(Into::into).collect(),
        models: models.into_iter().enumerate().map(model).collect::<Result<_, _>>()?,
        expires_at,
        limits: limits.into_iter().map(limit).collect(),
    };
    let issued = issue_key(&app.db, &actor, &tenant, new, app.clock.now()).await;
    let issued = issued.map_err(|error| {
        let OpError::Contract(mut invalid) = error else { return Problem::from(error) };
        // The domain counts in finer units.
        invalid.path = invalid.path.replace(".window", ".window_seconds");
        Problem::of_invalid(&invalid, &[])
    })?;
    Ok((StatusCode::CREATED, Json(IssuedApiKey::new(issued))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// How long the secret before is good beside the new one: 0 to 2678400 (31 days). 0 ends it at once, and so a secret
    /// before that one; while there is such a secret, 0 is all that can be asked for.
    overlap_seconds: u32,
}

/// A new secret for the key, which stays the same otherwise.
#[utoipa::path(post, path = "/tenants/{tenant}/api-keys/{id}/rotate", operation_id = "rotate_api_key",
    tag = "API keys", params(("tenant" = String, Path), ("id" = String, Path)), request_body = Rotation,
    responses((status = 200, body = IssuedApiKey)))]
pub(super) async fn rotate(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, KeyId)>,
    Body(Rotation { overlap_seconds }): Body<Rotation>,
) -> Result<Json<IssuedApiKey>, Problem> {
    let overlap = SignedDuration::from_secs(overlap_seconds.into());
    let rotated = rotate_key(&app.db, &actor, &tenant, &id, overlap, app.clock.now()).await;
    let rotated = rotated.map_err(|error| Problem::of_op(error, &[("/overlap", "/overlap_seconds")]))?;
    Ok(Json(IssuedApiKey::new(rotated)))
}

/// The end of a key, for good. It stays on record; limits that were for it alone end too.
#[utoipa::path(post, path = "/tenants/{tenant}/api-keys/{id}/revoke", operation_id = "revoke_api_key",
    tag = "API keys", params(("tenant" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, KeyId)>,
) -> Result<StatusCode, Problem> {
    revoke_key(&app.db, &actor, &tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
