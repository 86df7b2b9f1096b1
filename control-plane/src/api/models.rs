//! The models that a pool offers under names of its own.

use super::{
    extract::{Body, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
};
use crate::{
    db::{models, pools},
    ops::{remove_model, set_model},
    state::App,
};
use attach_proto::{
    bundle,
    id::{ModelName, PoolId},
    v1,
};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a request for the model goes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// An engine, by the name that the agents' hosts declare it under.
    upstream: String,
    /// The engine's name of the model; the model's own without a word.
    #[serde(default)]
    engine_model: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    name: String,
    aliases: Vec<String>,
    targets: Vec<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    /// Who may see it; empty for all.
    tenants: Vec<String>,
}

impl From<bundle::Model> for Model {
    fn from(model: bundle::Model) -> Self {
        let bundle::Model { name, aliases, targets, max_output_tokens, tenants } = model;
        let target = |target: bundle::ModelTarget| Target {
            upstream: target.upstream.into(),
            engine_model: target.engine_model.into(),
        };
        Self {
            name: name.into(),
            aliases: aliases.into_iter().map(Into::into).collect(),
            targets: targets.into_iter().map(target).collect(),
            max_output_tokens,
            tenants: tenants.into_iter().map(Into::into).collect(),
        }
    }
}

#[utoipa::path(get, path = "/pools/{pool}/models", operation_id = "list_models", tag = "Models",
    params(("pool" = String, Path), Paging), responses((status = 200, body = List<Model>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Named(pool): Named<PoolId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Model>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let found = pools::find(tx.connection(), &pool).await?;
    found.ok_or_else(|| Problem::not_found("pool"))?;
    let part = models::list(tx.connection(), &pool, &page).await?;
    Ok(Json(List::new(part, |model| model.name.to_string(), Model::from)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelBody {
    #[serde(default)]
    aliases: Vec<String>,
    /// At least one.
    targets: Vec<Target>,
    /// The most that one answer may have.
    max_output_tokens: Option<u32>,
    /// Who may see it; empty for all.
    #[serde(default)]
    tenants: Vec<String>,
}

/// Makes the model, or replaces it whole. Slashes in its name are written `%2F`.
#[utoipa::path(put, path = "/pools/{pool}/models/{name}", operation_id = "set_model", tag = "Models",
    params(("pool" = String, Path), ("name" = String, Path)), request_body = ModelBody,
    responses((status = 200, body = Model)))]
pub(super) async fn set(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((pool, name)): Named<(PoolId, ModelName)>,
    Body(body): Body<ModelBody>,
) -> Result<Json<Model>, Problem> {
    let ModelBody { aliases, targets, max_output_tokens, tenants } = body;
    let target = |Target { upstream, engine_model }| v1::ModelTarget { upstream, engine_model };
    let wire = v1::Model {
        name: name.into(),
        aliases,
        targets: targets.into_iter().map(target).collect(),
        max_output_tokens: max_output_tokens.unwrap_or_default().into(),
        tenants,
    };
    let model = bundle::Model::try_from(wire).map_err(|invalid| Problem::of_invalid(&invalid, &[]))?;
    set_model(&app.db, &actor, &pool, &model).await?;
    Ok(Json(model.into()))
}

#[utoipa::path(delete, path = "/pools/{pool}/models/{name}", operation_id = "remove_model", tag = "Models",
    params(("pool" = String, Path), ("name" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((pool, name)): Named<(PoolId, ModelName)>,
) -> Result<StatusCode, Problem> {
    remove_model(&app.db, &actor, &pool, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
