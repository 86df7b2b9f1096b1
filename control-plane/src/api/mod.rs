//! The REST API, `/api/v1`: JSON, problems as RFC 9457 has them, lists in parts, and a description of itself (`OpenAPI` 3.1).
//! The operator's token guards all but the description.
//!
//! A handler takes what it needs, calls an operation or reads, and replies; bodies have types of their own, so that the
//! domain can change without the API.

mod access_rules;
mod agents;
mod audit;
mod did_policy;
mod explain;
mod extract;
mod identity_provider;
mod identity_providers;
mod join_tokens;
mod keys;
mod limits;
mod models;
mod paging;
mod pools;
mod problem;
mod quota_stores;
mod routes;
mod tenants;
mod usage;
mod words;

#[cfg(test)]
mod tests;

use crate::{
    db::{self, DbError},
    state::App,
};
use axum::{
    Json, Router,
    extract::Request,
    http::header,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::get,
};
use problem::Problem;
use std::sync::Arc;
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
    path::PathItem,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Where it stands.
pub(crate) const PREFIX: &str = "/api/v1";

/// The name of the token in the description.
const TOKEN: &str = "operator_token";

pub(crate) fn router() -> Router<App> {
    let (router, description) = documented().split_for_parts();
    let description = Arc::new(describe(description));
    let openapi = move || {
        let description = Arc::clone(&description);
        async move { ([(header::CACHE_CONTROL, "no-cache")], Json(description.as_ref())).into_response() }
    };
    let router = router
        .route(&format!("{PREFIX}/openapi.json"), get(openapi))
        // Else a path below it that nobody has would be the console's.
        .route(&format!("{PREFIX}/{{*rest}}"), axum::routing::any(async || Problem::no_such_path()));
    let router = router.method_not_allowed_fallback(async || Problem::method_not_allowed());
    router.layer(from_fn(in_time))
}

async fn in_time(request: Request, next: Next) -> Response {
    let answered = db::in_time(async { Ok::<_, DbError>(next.run(request).await) });
    answered.await.unwrap_or_else(|error| Problem::from(error).into_response())
}

fn documented() -> OpenApiRouter<App> {
    let routes = OpenApiRouter::new()
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::update))
        .routes(routes!(identity_providers::list))
        .routes(routes!(identity_providers::set, identity_providers::remove))
        .routes(routes!(keys::list, keys::issue))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(limits::list))
        .routes(routes!(limits::get, limits::set, limits::remove))
        .routes(routes!(access_rules::list))
        .routes(routes!(access_rules::set, access_rules::remove))
        .routes(routes!(explain::explain))
        .routes(routes!(usage::get))
        .routes(routes!(usage::events))
        .routes(routes!(audit::of_tenant))
        .routes(routes!(pools::list, pools::create))
        .routes(routes!(pools::get))
        .routes(routes!(pools::members))
        .routes(routes!(pools::add_member, pools::remove_member))
        .routes(routes!(models::list))
        .routes(routes!(models::set, models::remove))
        .routes(routes!(routes::get, routes::set))
        .routes(routes!(quota_stores::list, quota_stores::create))
        .routes(routes!(join_tokens::list, join_tokens::create))
        .routes(routes!(join_tokens::revoke))
        .routes(routes!(agents::list))
        .routes(routes!(agents::get))
        .routes(routes!(agents::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::alarms));
    let info = InfoBuilder::new().title("Attach Gateway").version("1");
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info.build()).build()).nest(PREFIX, routes)
}

/// What holds for every operation, said once.
fn describe(mut description: OpenApi) -> OpenApi {
    let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let components = description.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, scheme);
    let mut schemas = vec![(<Problem as utoipa::ToSchema>::name().into_owned(), schema::<Problem>())];
    <Problem as utoipa::ToSchema>::schemas(&mut schemas);
    components.schemas.extend(schemas);
    description.security = Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let refused = ResponseBuilder::new()
        .description("Refused, or failed; nothing was done")
        .content("application/problem+json", content)
        .build();
    for operation in description.paths.paths.values_mut().flat_map(operations) {
        operation.responses.responses.insert("default".to_owned(), refused.clone().into());
    }
    description
}

fn schema<T: utoipa::PartialSchema>() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    T::schema()
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut utoipa::openapi::path::Operation> {
    let PathItem { get, put, post, delete, patch, .. } = path;
    [get, put, post, delete, patch].into_iter().flatten()
}
