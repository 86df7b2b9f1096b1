//! The console: pages that the server writes, forms, and no script at all.
//!
//! A page's template stands above its handler; a handler takes what it needs, calls an operation or reads, and replies with
//! a page or, after a form, with the address of one.

mod agents;
mod assets;
mod audit;
mod chart;
mod dids;
mod error;
mod explain;
mod form;
mod home;
mod keys;
mod limits;
mod page;
mod paging;
mod pool;
mod pools;
mod provider_keys;
mod providers;
mod registries;
mod routes;
mod sign_in;
mod tenants;
mod usage;

#[cfg(test)]
mod tests;

use crate::{
    db::{self, DbError},
    state::App,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use error::Failure;

/// The largest form; a hundred times what most have.
const MAX_FORM_BYTES: usize = 64 * 1024;

/// The largest with a long text: a key set, or all DIDs of a tenant, of a megabyte each. A form writes a sign as up to three.
const MAX_LONG_FORM_BYTES: usize = 3 * 1024 * 1024 + MAX_FORM_BYTES;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(home::show))
        .route("/static/{file}", get(assets::get))
        .route("/sign-in", get(sign_in::explain).post(sign_in::submit))
        .route("/sign-in/{link}", get(sign_in::with_link))
        .route("/sign-out", post(sign_in::end))
        .route("/tenants", get(tenants::list).post(tenants::create))
        .route("/tenants/new", get(tenants::new))
        .route("/tenants/{tenant}", get(tenants::show))
        .route("/tenants/{tenant}/edit", get(tenants::edit).post(tenants::update))
        .route("/tenants/{tenant}/dids", get(dids::edit).post(dids::update).layer(long()))
        .route("/tenants/{tenant}/dids/remove", get(dids::ask_remove).post(dids::remove))
        .route("/tenants/{tenant}/providers", post(providers::create).layer(long()))
        .route("/tenants/{tenant}/providers/new", get(providers::new))
        .route("/tenants/{tenant}/providers/{id}", get(providers::edit).post(providers::update).layer(long()))
        .route("/tenants/{tenant}/providers/{id}/remove", get(providers::ask_remove).post(providers::remove))
        .route("/tenants/{tenant}/keys", get(keys::list).post(keys::issue))
        .route("/tenants/{tenant}/keys/new", get(keys::new))
        .route("/tenants/{tenant}/keys/{id}/rotate", get(keys::ask_rotate).post(keys::rotate))
        .route("/tenants/{tenant}/keys/{id}/revoke", get(keys::ask_revoke).post(keys::revoke))
        .route("/tenants/{tenant}/limits", get(limits::list).post(limits::create))
        .route("/tenants/{tenant}/limits/new", get(limits::new))
        .route("/tenants/{tenant}/limits/{id}", get(limits::edit).post(limits::update))
        .route("/tenants/{tenant}/limits/{id}/remove", get(limits::ask_remove).post(limits::remove))
        .route("/tenants/{tenant}/usage", get(usage::show))
        .route("/tenants/{tenant}/explain", get(explain::show).post(explain::ask))
        .route("/pools", get(pools::list).post(pools::create))
        .route("/pools/new", get(pools::new))
        .route("/pools/{pool}", get(pool::show))
        .route("/pools/{pool}/routes", post(routes::open))
        .route("/pools/{pool}/routes/new", get(routes::new))
        .route("/pools/{pool}/routes/change", get(routes::edit).post(routes::update))
        .route("/pools/{pool}/routes/close", get(routes::ask_close).post(routes::close))
        .route("/pools/{pool}/registries", get(registries::edit).post(registries::update))
        .route("/quota-stores", post(pools::create_store))
        .route("/quota-stores/new", get(pools::new_store))
        .route("/agents", get(agents::list))
        .route("/agents/join", get(agents::join).post(agents::create_token))
        .route("/agents/{agent}/revoke", get(agents::ask_revoke).post(agents::revoke))
        .route("/audit", get(audit::list))
        .fallback(async || Failure::NotFound("page"))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(from_fn(in_time))
}

fn long() -> DefaultBodyLimit {
    DefaultBodyLimit::max(MAX_LONG_FORM_BYTES)
}

async fn in_time(request: Request, next: Next) -> Response {
    let answered = db::in_time(async { Ok::<_, DbError>(next.run(request).await) });
    answered.await.unwrap_or_else(|error| Failure::from(error).into_response())
}
