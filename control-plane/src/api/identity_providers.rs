//! Issuers whose tokens a tenant's callers present.

use super::{
    extract::{Body, Named, Operator, Params},
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
    bundle,
    id::{IdentityProviderId, TenantId},
    v1,
};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// The database holds to it too: a clock that is further off is out of order.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(600);

/// Where an issuer's tokens say what, as JSON Pointers (RFC 6901).
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Claims {
    /// Whom usage is recorded for; `/sub` without a word.
    user: String,
    /// `/groups` without a word.
    groups: String,
    project: String,
    /// What the engine is told of a caller.
    forwarded: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityProvider {
    id: String,
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_url: Option<String>,
    clock_skew_seconds: u64,
    claims: Claims,
}

impl From<bundle::IdentityProvider> for IdentityProvider {
    fn from(provider: bundle::IdentityProvider) -> Self {
        let text = |pointer: &bundle::JsonPointer| pointer.as_str().to_owned();
        let claims = &provider.claims;
        Self {
            id: provider.id.into(),
            issuer: provider.issuer,
            audiences: provider.audiences,
            algorithms: provider.algorithms.iter().map(|of| of.name().to_owned()).collect(),
            jwks_url: provider.jwks_url.map(Into::into),
            clock_skew_seconds: provider.clock_skew.as_secs(),
            claims: Claims {
                user: text(&claims.user),
                groups: text(&claims.groups),
                project: claims.project.as_ref().map(text).unwrap_or_default(),
                forwarded: claims.forwarded.iter().map(text).collect(),
            },
        }
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityProviderBody {
    /// As its tokens' `iss` has it.
    issuer: String,
    /// At least one. An issuer and audience lead to exactly one tenant.
    audiences: Vec<String>,
    /// RS256 and ES256 without a word.
    #[serde(default)]
    algorithms: Vec<String>,
    /// Where its keys are; found through the issuer's metadata without a word.
    jwks_url: Option<String>,
    /// 60 without a word.
    clock_skew_seconds: Option<u32>,
    #[serde(default)]
    claims: Claims,
}

/// Makes the identity provider, or replaces it whole.
#[utoipa::path(put, path = "/tenants/{tenant}/identity-providers/{id}", operation_id = "set_identity_provider",
    tag = "Identity providers", params(("tenant" = String, Path), ("id" = String, Path)),
    request_body = IdentityProviderBody, responses((status = 200, body = IdentityProvider)))]
pub(super) async fn set(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, IdentityProviderId)>,
    Body(body): Body<IdentityProviderBody>,
) -> Result<Json<IdentityProvider>, Problem> {
    let IdentityProviderBody { issuer, audiences, algorithms, jwks_url, clock_skew_seconds, claims } = body;
    let clock_skew = clock_skew_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    if clock_skew.is_some_and(|skew| skew > MAX_CLOCK_SKEW) {
        return Err(Problem::field("/clock_skew_seconds", "must be at most 600"));
    }
    let Claims { user, groups, project, forwarded } = claims;
    let wire = v1::IdentityProvider {
        id: id.into(),
        tenant: tenant.into(),
        issuer,
        audiences,
        algorithms,
        jwks_url: jwks_url.unwrap_or_default(),
        clock_skew: clock_skew.map(Into::into),
        claims: Some(v1::ClaimMapping { user, groups, project, forwarded }),
    };
    let names = [("/clock_skew", "/clock_skew_seconds")];
    let provider =
        bundle::IdentityProvider::try_from(wire).map_err(|invalid| Problem::of_invalid(&invalid, &names))?;
    set_identity_provider(&app.db, &actor, &provider).await?;
    Ok(Json(provider.into()))
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
