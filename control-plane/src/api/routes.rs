//! What a pool lets through beside its gateways' own table.

use super::{
    extract::{Body, Named, Operator},
    problem::Problem,
    words::Permission,
};
use crate::{
    db::{pools, routes},
    ops::set_routes,
    state::App,
};
use attach_proto::{
    bundle,
    id::PoolId,
    route::{self, RouteMethod},
    v1,
};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is recorded of a request beside its line in the access log.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metering {
    /// Nothing, and no limit is about it.
    None,
    /// That there was one. Limits on requests hold.
    Requests,
    /// Its tokens, by `usage` of the answer, which comes in one piece.
    Usage,
}

/// The shape of refusals.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    Ollama,
    #[default]
    OpenAi,
    Anthropic,
}

/// A path that is passed on to an engine as it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowedRoute {
    /// Such as `/v1/images/generations`, or with `/*` at its end whatever is below it.
    path: String,
    /// GET (with HEAD), POST, PUT, PATCH, DELETE. At least one.
    methods: Vec<String>,
    permission: Permission,
    metering: Metering,
    #[serde(default)]
    dialect: Dialect,
    /// The engine that it goes to, by the name that the agents' hosts declare it under.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    upstream: String,
}

/// All that a pool lets through beside its gateways' own table.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Routes {
    #[serde(default)]
    allow: Vec<AllowedRoute>,
    /// Registries beside `registry.ollama.ai` that models may be pulled from and pushed to, such as `hf.co`.
    #[serde(default)]
    registries: Vec<String>,
}

#[utoipa::path(get, path = "/pools/{pool}/routes", operation_id = "get_routes", tag = "Routes",
    params(("pool" = String, Path)), responses((status = 200, body = Routes)))]
pub(super) async fn get(
    _: Operator,
    State(app): State<App>,
    Named(pool): Named<PoolId>,
) -> Result<Json<Routes>, Problem> {
    let mut tx = app.db.operator().await?;
    let found = pools::find(tx.connection(), &pool).await?;
    found.ok_or_else(|| Problem::not_found("pool"))?;
    Ok(Json(routes::find(tx.connection(), &pool).await?.into()))
}

/// Replaces them whole; an empty body opens nothing. Engines' control routes can't be opened.
#[utoipa::path(put, path = "/pools/{pool}/routes", operation_id = "set_routes", tag = "Routes",
    params(("pool" = String, Path)), request_body = Routes, responses((status = 200, body = Routes)))]
pub(super) async fn set(
    Operator(actor): Operator,
    State(app): State<App>,
    Named(pool): Named<PoolId>,
    Body(body): Body<Routes>,
) -> Result<Json<Routes>, Problem> {
    let opened = bundle::Routes::try_from(v1::Routes::from(body));
    let opened = opened.map_err(|invalid| Problem::of_invalid(&invalid, &[]))?;
    set_routes(&app.db, &actor, &pool, &opened).await?;
    Ok(Json(opened.into()))
}

impl From<Routes> for v1::Routes {
    fn from(body: Routes) -> Self {
        let Routes { allow, registries } = body;
        let route = |route: AllowedRoute| {
            let AllowedRoute { path, methods, permission, metering, dialect, upstream } = route;
            let metering = match metering {
                Metering::None => v1::Metering::None,
                Metering::Requests => v1::Metering::Requests,
                Metering::Usage => v1::Metering::Usage,
            };
            let dialect = match dialect {
                Dialect::Ollama => v1::Dialect::Ollama,
                Dialect::OpenAi => v1::Dialect::Openai,
                Dialect::Anthropic => v1::Dialect::Anthropic,
            };
            v1::AllowedRoute {
                path,
                methods,
                permission: v1::Permission::from(permission).into(),
                metering: metering.into(),
                dialect: dialect.into(),
                upstream,
            }
        };
        Self { allow: allow.into_iter().map(route).collect(), registries }
    }
}

impl From<bundle::Routes> for Routes {
    fn from(opened: bundle::Routes) -> Self {
        let bundle::Routes { allow, registries } = opened;
        let route = |route: bundle::AllowedRoute| {
            let bundle::AllowedRoute { path, methods, permission, metering, dialect, upstream } = route;
            AllowedRoute {
                path: path.as_str().to_owned(),
                methods: methods.into_iter().map(|method: RouteMethod| method.name().to_owned()).collect(),
                permission: permission.into(),
                metering: match metering {
                    route::Metering::None => Metering::None,
                    route::Metering::Requests => Metering::Requests,
                    route::Metering::Usage => Metering::Usage,
                },
                dialect: match dialect {
                    route::Dialect::Ollama => Dialect::Ollama,
                    route::Dialect::OpenAi => Dialect::OpenAi,
                    route::Dialect::Anthropic => Dialect::Anthropic,
                },
                upstream: upstream.map(Into::into).unwrap_or_default(),
            }
        };
        Self { allow: allow.into_iter().map(route).collect(), registries }
    }
}
