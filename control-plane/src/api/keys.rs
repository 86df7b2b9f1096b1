//! API keys.

use super::{
    extract::{Body, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
    tenants,
};
use crate::{
    db::api_keys,
    domain::api_key,
    ops::{NewKey, issue_key, revoke_key},
    state::App,
};
use attach_proto::id::{KeyId, TenantId};
use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    id: String,
    name: String,
    /// Whom usage is recorded for.
    owner: String,
    groups: Vec<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
}

impl From<api_key::ApiKey> for ApiKey {
    fn from(key: api_key::ApiKey) -> Self {
        let api_key::ApiKey { id, name, owner, groups, expires_at, created_at, revoked_at } = key;
        Self { id: id.into(), name, owner, groups, expires_at, created_at, revoked_at }
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// 1 to 200 characters.
    name: String,
    /// Whom usage is recorded for. 1 to 200 characters.
    owner: String,
    #[serde(default)]
    groups: Vec<String>,
    /// Good for ever without a word.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// The only answer that has the key itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedApiKey {
    #[serde(flatten)]
    key: ApiKey,
    /// What a caller sends. It is kept nowhere: note it now.
    secret: String,
}

#[utoipa::path(post, path = "/tenants/{tenant}/api-keys", operation_id = "issue_api_key", tag = "API keys",
    params(("tenant" = String, Path)), request_body = NewApiKey, responses((status = 201, body = IssuedApiKey)))]
pub(super) async fn issue(
    Operator(actor): Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Body(new): Body<NewApiKey>,
) -> Result<(StatusCode, Json<IssuedApiKey>), Problem> {
    let NewApiKey { name, owner, groups, expires_at } = new;
    let new = NewKey { name, owner, groups, expires_at };
    let (key, text) = issue_key(&app.db, &actor, &tenant, new, app.clock.now()).await?;
    let issued = IssuedApiKey { key: key.into(), secret: text.as_str().to_owned() };
    Ok((StatusCode::CREATED, Json(issued)))
}

/// The end of a key, for good. It stays on record.
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
