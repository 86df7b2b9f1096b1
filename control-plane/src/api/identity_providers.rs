//! Issuers whose tokens a tenant's callers present.

use super::{
    extract::{Body, Named, Operator, Params},
    identity_provider::Settings,
    paging::{List, Paging},
    problem::Problem,
    tenants,
};
use crate::{
    db::identity_providers,
    ops::{remove_identity_provider, set_identity_provider},
    state::App,
};
use attach_proto::{
    id::{IdentityProviderId, TenantId},
    v1,
};
use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// As it was said; what was not, the gateway fills in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityProvider {
    id: String,
    #[serde(flatten)]
    settings: Settings,
}

impl From<v1::IdentityProvider> for IdentityProvider {
    fn from(provider: v1::IdentityProvider) -> Self {
        Self { id: provider.id.clone(), settings: Settings::of_wire(provider) }
    }
}

#[utoipa::path(get, path = "/tenants/{tenant}/identity-providers", operation_id = "list_identity_providers",
    tag = "Identity providers", params(("tenant" = String, Path), Paging),
    responses((status = 200, body = List<IdentityProvider>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<IdentityProvider>>, Problem> {
    let page = paging.page()?;
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = identity_providers::list(connection, tenant, &page).await?;
    Ok(Json(List::new(part, |provider| provider.id.to_string(), IdentityProvider::from)))
}

/// Makes the identity provider, or replaces it whole.
#[utoipa::path(put, path = "/tenants/{tenant}/identity-providers/{id}", operation_id = "set_identity_provider",
    tag = "Identity providers", params(("tenant" = String, Path), ("id" = String, Path)),
    request_body = Settings, responses((status = 200, body = IdentityProvider)))]
pub(super) async fn set(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, IdentityProviderId)>,
    Body(settings): Body<Settings>,
) -> Result<Json<IdentityProvider>, Problem> {
    let wire = settings.into_wire(id.into(), tenant.into());
    let names = [("/clock_skew", "/clock_skew_seconds"), ("/max_age", "/max_age_seconds")];
    set_identity_provider(&app.db, &actor, wire.clone())
        .await
        .map_err(|error| Problem::of_op(error, &names))?;
    Ok(Json(wire.into()))
}

/// Its tokens are good no longer.
#[utoipa::path(delete, path = "/tenants/{tenant}/identity-providers/{id}", operation_id = "remove_identity_provider",
    tag = "Identity providers", params(("tenant" = String, Path), ("id" = String, Path)),
    responses((status = 204)))]
pub(super) async fn remove(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, IdentityProviderId)>,
) -> Result<StatusCode, Problem> {
    remove_identity_provider(&app.db, &actor, &tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
