//! Tenants.

use super::{
    did_policy::DidPolicy,
    extract::{Body, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
    words::{Durability, QuotaOutage},
};
use crate::{
    db::{TenantTx, tenants},
    domain::tenant::{TenantChange, TenantRecord},
    ops::{create_tenant, update_tenant},
    state::App,
};
use attach_proto::{bundle, id::TenantId, v1};
use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenant {
    id: String,
    name: String,
    /// Where its limits are counted.
    quota_store: String,
    on_quota_outage: QuotaOutage,
    durability: Durability,
    /// Null: no DID calls for it.
    did: Option<DidPolicy>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<TenantRecord> for Tenant {
    fn from(TenantRecord { tenant, created_at }: TenantRecord) -> Self {
        let bundle::Tenant { id, name, quota_store, on_quota_outage, durability, did } = tenant;
        Self {
            id: id.into(),
            name,
            quota_store: quota_store.into(),
            on_quota_outage: on_quota_outage.into(),
            durability: durability.into(),
            did: did.as_ref().map(DidPolicy::from),
            created_at,
        }
    }
}

/// A transaction of a tenant that is there.
pub(super) async fn open(app: &App, tenant: TenantId) -> Result<(TenantTx, TenantRecord), Problem> {
    let mut tx = app.db.tenant(tenant).await?;
    let (connection, tenant) = tx.parts();
    let found = tenants::find(connection, tenant).await?;
    Ok((tx, found.ok_or_else(|| Problem::not_found("tenant"))?))
}

/// All tenants, in the order of their ids.
#[utoipa::path(get, path = "/tenants", operation_id = "list_tenants", tag = "Tenants", params(Paging),
    responses((status = 200, body = List<Tenant>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Tenant>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let part = tenants::list(tx.connection(), &page).await?;
    Ok(Json(List::new(part, |record| record.tenant.id.to_string(), Tenant::from)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// Letters, digits and . _ - : @; it never changes.
    id: String,
    /// 1 to 200 characters.
    name: String,
    quota_store: String,
    /// The pool that serves it from the start.
    pool: String,
    on_quota_outage: Option<QuotaOutage>,
    durability: Option<Durability>,
}

/// A new tenant, and the pool that serves it.
#[utoipa::path(post, path = "/tenants", operation_id = "create_tenant", tag = "Tenants", request_body = NewTenant,
    responses((status = 201, body = Tenant)))]
pub(super) async fn create(
    Operator(actor): Operator,
    State(app): State<App>,
    Body(new): Body<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), Problem> {
    let NewTenant { id, name, quota_store, pool, on_quota_outage, durability } = new;
    if name.is_empty() {
        return Err(Problem::field("/name", "must have 1 to 200 characters"));
    }
    let pool = pool.parse().map_err(|error| Problem::field("/pool", format!("{error}")))?;
    let wire = v1::Tenant {
        id,
        name,
        quota_store,
        on_quota_outage: on_quota_outage.map(v1::QuotaOutage::from).unwrap_or_default().into(),
        durability: durability.map(v1::Durability::from).unwrap_or_default().into(),
        did: None,
    };
    let tenant = bundle::Tenant::try_from(wire).map_err(|invalid| Problem::of_invalid(&invalid, &[]))?;
    create_tenant(&app.db, &actor, &tenant, &pool).await?;
    let (_, record) = open(&app, tenant.id).await?;
    Ok((StatusCode::CREATED, Json(record.into())))
}

#[utoipa::path(get, path = "/tenants/{tenant}", operation_id = "get_tenant", tag = "Tenants",
    params(("tenant" = String, Path)), responses((status = 200, body = Tenant)))]
pub(super) async fn get(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
) -> Result<Json<Tenant>, Problem> {
    let (_, record) = open(&app, tenant).await?;
    Ok(Json(record.into()))
}

/// What is to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantPatch {
    name: Option<String>,
    on_quota_outage: Option<QuotaOutage>,
    durability: Option<Durability>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "even_if_null")]
    #[schema(value_type = Option<DidPolicy>)]
    did: Option<Option<DidPolicy>>,
}

/// `None` is for what was left out, so what was sent is always something.
fn even_if_null<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<DidPolicy>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[utoipa::path(patch, path = "/tenants/{tenant}", operation_id = "update_tenant", tag = "Tenants",
    params(("tenant" = String, Path)), request_body = TenantPatch, responses((status = 200, body = Tenant)))]
pub(super) async fn update(
    Operator(actor): Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Body(patch): Body<TenantPatch>,
) -> Result<Json<Tenant>, Problem> {
    let change = TenantChange {
        name: patch.name,
        on_quota_outage: patch.on_quota_outage.map(Into::into),
        durability: patch.durability.map(Into::into),
        did: patch.did.map(|policy| policy.map(DidPolicy::checked).transpose()).transpose()?,
    };
    let record = update_tenant(&app.db, &actor, &tenant, &change).await?;
    Ok(Json(record.into()))
}
