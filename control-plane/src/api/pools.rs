//! Pools, and the tenants that they serve.

use super::{
    extract::{Body, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
};
use crate::{
    db::pools,
    domain::tenant::{Membership, PoolRecord},
    ops::{add_tenant_to_pool, create_pool, remove_tenant_from_pool},
    state::App,
};
use attach_proto::id::{PoolId, TenantId};
use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pool {
    id: String,
    name: String,
    /// Of the last change that its agents were to hear of.
    revision: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<PoolRecord> for Pool {
    fn from(PoolRecord { id, name, revision, created_at }: PoolRecord) -> Self {
        Self { id: id.into(), name, revision, created_at }
    }
}

/// All pools, in the order of their ids.
#[utoipa::path(get, path = "/pools", operation_id = "list_pools", tag = "Pools", params(Paging),
    responses((status = 200, body = List<Pool>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Pool>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let part = pools::list(tx.connection(), &page).await?;
    Ok(Json(List::new(part, |pool| pool.id.to_string(), Pool::from)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPool {
    /// Letters, digits and . _ - : @; it never changes.
    id: String,
    /// 1 to 200 characters.
    name: String,
}

#[utoipa::path(post, path = "/pools", operation_id = "create_pool", tag = "Pools", request_body = NewPool,
    responses((status = 201, body = Pool)))]
pub(super) async fn create(
    Operator(actor): Operator,
    State(app): State<App>,
    Body(new): Body<NewPool>,
) -> Result<(StatusCode, Json<Pool>), Problem> {
    let id = new.id.parse().map_err(|error| Problem::field("/id", format!("{error}")))?;
    create_pool(&app.db, &actor, &id, &new.name).await?;
    Ok((StatusCode::CREATED, Json(find(&app, &id).await?)))
}

#[utoipa::path(get, path = "/pools/{pool}", operation_id = "get_pool", tag = "Pools",
    params(("pool" = String, Path)), responses((status = 200, body = Pool)))]
pub(super) async fn get(
    _: Operator,
    State(app): State<App>,
    Named(pool): Named<PoolId>,
) -> Result<Json<Pool>, Problem> {
    Ok(Json(find(&app, &pool).await?))
}

async fn find(app: &App, pool: &PoolId) -> Result<Pool, Problem> {
    let mut tx = app.db.operator().await?;
    let found = pools::find(tx.connection(), pool).await?;
    Ok(found.ok_or_else(|| Problem::not_found("pool"))?.into())
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Member {
    tenant: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

impl From<Membership> for Member {
    fn from(Membership { tenant, since, pool: _, until: _ }: Membership) -> Self {
        Self { tenant: tenant.into(), since }
    }
}

/// The tenants that a pool serves now.
#[utoipa::path(get, path = "/pools/{pool}/members", operation_id = "list_pool_members", tag = "Pools",
    params(("pool" = String, Path), Paging), responses((status = 200, body = List<Member>)))]
pub(super) async fn members(
    _: Operator,
    State(app): State<App>,
    Named(pool): Named<PoolId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Member>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let found = pools::find(tx.connection(), &pool).await?;
    found.ok_or_else(|| Problem::not_found("pool"))?;
    let part = pools::members(tx.connection(), &pool, &page).await?;
    Ok(Json(List::new(part, |member| member.tenant.to_string(), Member::from)))
}

/// From now on the pool serves the tenant.
#[utoipa::path(put, path = "/pools/{pool}/members/{tenant}", operation_id = "add_pool_member", tag = "Pools",
    params(("pool" = String, Path), ("tenant" = String, Path)), responses((status = 204)))]
pub(super) async fn add_member(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((pool, tenant)): Named<(PoolId, TenantId)>,
) -> Result<StatusCode, Problem> {
    add_tenant_to_pool(&app.db, &actor, &pool, &tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// From now on the pool serves the tenant no longer; usage from before is still taken.
#[utoipa::path(delete, path = "/pools/{pool}/members/{tenant}", operation_id = "remove_pool_member", tag = "Pools",
    params(("pool" = String, Path), ("tenant" = String, Path)), responses((status = 204)))]
pub(super) async fn remove_member(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((pool, tenant)): Named<(PoolId, TenantId)>,
) -> Result<StatusCode, Problem> {
    remove_tenant_from_pool(&app.db, &actor, &pool, &tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}
