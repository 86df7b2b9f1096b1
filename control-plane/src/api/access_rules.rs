//! Who may do what.

use super::{
    extract::{Body, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
    tenants,
    words::Permission,
};
use crate::{
    db::access_rules,
    ops::{remove_access_rule, set_access_rule},
    state::App,
};
use attach_proto::{
    bundle,
    id::{AccessRuleId, TenantId},
    v1,
};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Empty lists do not narrow; all that are given must match.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccessRule {
    id: String,
    principals: Vec<String>,
    groups: Vec<String>,
    roles: Vec<String>,
    scopes: Vec<String>,
    models: Vec<String>,
    permissions: Vec<Permission>,
}

impl From<bundle::AccessRule> for AccessRule {
    fn from(rule: bundle::AccessRule) -> Self {
        let bundle::AccessRule { id, tenant: _, principals, groups, roles, scopes, models, permissions } =
            rule;
        Self {
            id: id.into(),
            principals,
            groups,
            roles,
            scopes,
            models: models.into_iter().map(Into::into).collect(),
            permissions: permissions.into_iter().map(Into::into).collect(),
        }
    }
}

#[utoipa::path(get, path = "/tenants/{tenant}/access-rules", operation_id = "list_access_rules", tag = "Access rules",
    params(("tenant" = String, Path), Paging), responses((status = 200, body = List<AccessRule>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<AccessRule>>, Problem> {
    let page = paging.page()?;
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = access_rules::list(connection, tenant, &page).await?;
    Ok(Json(List::new(part, |rule| rule.id.to_string(), AccessRule::from)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessRuleBody {
    #[serde(default)]
    principals: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    /// Of the caller's token, by the identity provider's claim of roles.
    #[serde(default)]
    roles: Vec<String>,
    /// Scopes of the caller's token, one of which it must have been granted.
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    /// At least one.
    permissions: Vec<Permission>,
}

/// Makes the rule, or replaces it whole. A tenant without rules lets all its callers ask and read; with the first rule only
/// what a rule allows is allowed.
#[utoipa::path(put, path = "/tenants/{tenant}/access-rules/{id}", operation_id = "set_access_rule",
    tag = "Access rules", params(("tenant" = String, Path), ("id" = String, Path)), request_body = AccessRuleBody,
    responses((status = 200, body = AccessRule)))]
pub(super) async fn set(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, AccessRuleId)>,
    Body(body): Body<AccessRuleBody>,
) -> Result<Json<AccessRule>, Problem> {
    let AccessRuleBody { principals, groups, roles, scopes, models, permissions } = body;
    let wire = v1::AccessRule {
        id: id.into(),
        tenant: tenant.into(),
        principals,
        groups,
        roles,
        scopes,
        models,
        permissions: permissions.into_iter().map(|of| v1::Permission::from(of).into()).collect(),
    };
    let rule = bundle::AccessRule::try_from(wire).map_err(|invalid| Problem::of_invalid(&invalid, &[]))?;
    set_access_rule(&app.db, &actor, &rule).await?;
    Ok(Json(rule.into()))
}

#[utoipa::path(delete, path = "/tenants/{tenant}/access-rules/{id}", operation_id = "remove_access_rule",
    tag = "Access rules", params(("tenant" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    Operator(actor): Operator,
    State(app): State<App>,
    Named((tenant, id)): Named<(TenantId, AccessRuleId)>,
) -> Result<StatusCode, Problem> {
    remove_access_rule(&app.db, &actor, &tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
