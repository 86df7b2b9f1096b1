//! Limits.

use super::{
    extract::{Body, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
    tenants,
    words::{Counter, Measure},
};
use crate::{
    db::limits,
    ops::{remove_limit, set_limit},
    state::App,
};
use attach_proto::{
    bundle,
    id::{LimitId, TenantId},
    v1,
};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// Whom and what a limit is about. Empty lists do not narrow; all that are given must match.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Scope {
    principals: Vec<String>,
    groups: Vec<String>,
    models: Vec<String>,
    /// Ids of API keys.
    keys: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Limit {
    id: String,
    counter: Counter,
    measure: Measure,
    /// How much is allowed within a window.
    amount: u64,
    window_seconds: u64,
    scope: Scope,
}

impl From<bundle::Limit> for Limit {
    fn from(limit: bundle::Limit) -> Self {
        let bundle::Limit { id, tenant: _, counter, scope, measure, window, amount } = limit;
        let bundle::LimitScope { principals, groups, models, keys } = scope;
        Self {
            id: id.into(),
            counter: counter.into(),
            measure: measure.into(),
            amount,
            window_seconds: window.as_secs(),
            scope: Scope {
                principals,
                groups,
                models: models.into_iter().map(Into::into).collect(),
                keys: keys.into_iter().map(Into::into).collect(),
            },
        }
    }
}

#[utoipa::path(get, path = "/tenants/{tenant}/limits", operation_id = "list_limits", tag = "Limits",
    params(("tenant" = String, Path), Paging), responses((status = 200, body = List<Limit>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Limit>>, Problem> {
    let page = paging.page()?;
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = limits::list(connection, tenant, &page).await?;
    Ok(Json(List::new(part, |limit| limit.id.to_string(), Limit::from)))
}

#[utoipa::path(get, path = "/tenants/{tenant}/limits/{id}", operation_id = "get_limit", tag = "Limits",
    params(("tenant" = String, Path), ("id" = String, Path)), responses((status = 200, body = Limit)))]
pub(super) async fn get(
    _: Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, LimitId)>,
) -> Result<Json<Limit>, Problem> {
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let limit = limits::find(connection, tenant, &id).await?;
    Ok(Json(limit.ok_or_else(|| Problem::not_found("limit"))?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitBody {
    counter: Counter,
    measure: Measure,
    /// At least 1.
    amount: u64,
    /// 1 to 31622400 (366 days). Windows slide.
    window_seconds: u32,
    #[serde(default)]
    scope: Scope,
}

/// Makes the limit, or replaces it whole.
#[utoipa::path(put, path = "/tenants/{tenant}/limits/{id}", operation_id = "set_limit", tag = "Limits",
    params(("tenant" = String, Path), ("id" = String, Path)), request_body = LimitBody,
    responses((status = 200, body = Limit)))]
pub(super) async fn set(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, LimitId)>,
    Body(body): Body<LimitBody>,
) -> Result<Json<Limit>, Problem> {
    let LimitBody { counter, measure, amount, window_seconds, scope } = body;
    let Scope { principals, groups, models, keys } = scope;
    let wire = v1::Limit {
        id: id.into(),
        tenant: tenant.into(),
        counter: v1::Counter::from(counter).into(),
        scope: Some(v1::LimitScope { principals, groups, models, keys }),
        measure: v1::Measure::from(measure).into(),
        window: Some(Duration::from_secs(window_seconds.into()).into()),
        amount,
    };
    let names = [("/window", "/window_seconds")];
    let limit = bundle::Limit::try_from(wire).map_err(|invalid| Problem::of_invalid(&invalid, &names))?;
    set_limit(&app.db, &actor, &limit).await.map_err(|error| Problem::of_op(error, &names))?;
    Ok(Json(limit.into()))
}

#[utoipa::path(delete, path = "/tenants/{tenant}/limits/{id}", operation_id = "remove_limit", tag = "Limits",
    params(("tenant" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, LimitId)>,
) -> Result<StatusCode, Problem> {
    remove_limit(&app.db, &actor, &tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
