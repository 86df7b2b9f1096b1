//! Issuers whose tokens a tenant's callers present.

use super::{
    extract::{Body, Named, Operator, Params},
    identity_provider::Settings,
    paging::{List, Paging},
    problem::Problem,
    tenants,
};
use crate::{
    db::{identity_providers, issuer_key_sets},
    domain::issuer_keys::KeyState,
    ops::{remove_identity_provider, set_identity_provider},
    state::App,
};
use attach_proto::{
    id::{IdentityProviderId, TenantId},
    v1,
};
use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// As it was said; what was not, the gateway fills in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityProvider {
    id: String,
    #[serde(flatten)]
    settings: Settings,
    /// Of a provider whose keys this control plane fetches.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Keys>,
}

/// How it stands with an issuer's keys here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Keys {
    /// Those that gateways have; none before the issuer's first good answer, and after a day without one.
    count: u32,
    /// Keys of its set that are not used.
    skipped: u32,
    /// When it last answered well.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched_at: Option<Timestamp>,
    /// They should have been renewed by now.
    stale: bool,
    /// Why the last attempt to renew them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl IdentityProvider {
    fn new(provider: v1::IdentityProvider, keys: Option<KeyState>) -> Self {
        let keys = keys.map(|state| Keys {
            count: state.keys,
            skipped: state.skipped_keys,
            fetched_at: state.fetched_at,
            stale: state.is_stale,
            last_error: state.problem,
        });
        Self { id: provider.id.clone(), settings: Settings::of_wire(provider), keys }
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
    let part = identity_providers::list(&mut *connection, tenant, &page).await?;
    let keys = issuer_key_sets::of_tenant(connection, tenant, app.jwks_ttl).await?;
    let provider = |provider: v1::IdentityProvider| {
        let keys = keys.get(&provider.id).cloned();
        IdentityProvider::new(provider, keys)
    };
    Ok(Json(List::new(part, |provider| provider.id.to_string(), provider)))
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
    let wire = settings.into_wire(id.into(), tenant.clone().into());
    let names = [("/clock_skew", "/clock_skew_seconds"), ("/max_age", "/max_age_seconds")];
    set_identity_provider(&app.db, &actor, wire.clone())
        .await
        .map_err(|error| Problem::of_op(error, &names))?;
    let mut tx = app.db.tenant(tenant).await?;
    let (connection, tenant) = tx.parts();
    let keys = issuer_key_sets::of_tenant(connection, tenant, app.jwks_ttl).await?.remove(&wire.id);
    Ok(Json(IdentityProvider::new(wire, keys)))
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
