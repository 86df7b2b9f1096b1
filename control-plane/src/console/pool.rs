//! One pool: whom it serves, and what it lets through beside its gateways' own table.

use super::{
    error::Failure,
    form::Visitor,
    page::{Shell, number, page, time},
    routes::{dialect_text, metering_text, permission_text, route_name, route_path},
};
use crate::{
    db::{pools, routes},
    domain::{page::Page, tenant::PoolRecord},
    state::App,
};
use askama::Template;
use attach_proto::{bundle::AllowedRoute, id::PoolId, route::NEVER};
use axum::{
    extract::{Path, State},
    response::Response,
};

#[derive(Template)]
#[template(path = "pool.html")]
struct PoolPage {
    shell: Shell,
    id: String,
    revision: String,
    since: String,
    /// The first ones.
    tenants: Vec<String>,
    has_more_tenants: bool,
    routes: Vec<Route>,
    registries: String,
    never: &'static [&'static str],
}

struct Route {
    name: String,
    path: String,
    methods: String,
    permission: &'static str,
    metering: &'static str,
    dialect: &'static str,
    engine: String,
    change: String,
    close: String,
}

impl Route {
    fn new(pool: &PoolId, route: AllowedRoute) -> Self {
        let name = route_name(&route);
        let methods: Vec<_> = route.methods.iter().map(|method| method.name()).collect();
        Self {
            change: route_path(pool, "change", &name),
            close: route_path(pool, "close", &name),
            methods: methods.join(", "),
            name,
            path: route.path.to_string(),
            permission: permission_text(route.permission),
            metering: metering_text(route.metering),
            dialect: dialect_text(route.dialect),
            engine: route.upstream.map(Into::into).unwrap_or_default(),
        }
    }
}

/// A pool that is there.
pub(super) async fn find(app: &App, pool: &str) -> Result<PoolRecord, Failure> {
    let id: PoolId = pool.parse().map_err(|_| Failure::NotFound("pool"))?;
    let mut tx = app.db.operator().await?;
    pools::find(tx.connection(), &id).await?.ok_or(Failure::NotFound("pool"))
}

pub(super) async fn show(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(pool): Path<String>,
) -> Result<Response, Failure> {
    let record = find(&app, &pool).await?;
    let mut tx = app.db.operator().await?;
    let opened = routes::find(tx.connection(), &record.id).await?;
    let members = pools::members(tx.connection(), &record.id, &Page::first()).await?;
    Ok(page(&PoolPage {
        shell: Shell::new(&session, "Pools", record.name),
        revision: number(record.revision),
        since: time(record.created_at),
        tenants: members.items.into_iter().map(|member| member.tenant.into()).collect(),
        has_more_tenants: members.has_more,
        routes: opened.allow.into_iter().map(|route| Route::new(&record.id, route)).collect(),
        registries: opened.registries.join(", "),
        never: NEVER,
        id: record.id.into(),
    }))
}
