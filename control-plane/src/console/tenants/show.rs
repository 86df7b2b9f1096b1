//! One tenant: what it used, how it is set, whose callers it has.

use super::{
    super::{
        error::Failure,
        form::Visitor,
        page::{Shell, number, page},
    },
    TenantView, open,
};
use crate::{
    db::{consumption, identity_providers, pools},
    domain::{
        page::Page,
        usage::{Step, UsageQuery},
    },
    state::App,
};
use askama::Template;
use attach_proto::usage::MeasuredQuantity;
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::Timestamp;

/// How far back a tenant's own page looks.
const RECENT_DAYS: i64 = 30;

#[derive(Template)]
#[template(path = "tenant.html")]
struct TenantPage {
    shell: Shell,
    tenant: TenantView,
    tab: &'static str,
    pools: String,
    providers: Vec<Provider>,
    requests: String,
    input: String,
    output: String,
}

struct Provider {
    id: String,
    issuer: String,
    audiences: String,
    path: String,
}

pub(in crate::console) async fn show(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (mut tx, view) = open(&app, &tenant).await?;
    let now = app.clock.now();
    let from = Timestamp::from_second(now.as_second() - RECENT_DAYS * Step::Day.seconds()).unwrap_or(now);
    let query = UsageQuery { from, to: now, step: None, by_user: false, by_model: false };
    let (connection, tenant) = tx.parts();
    let providers = identity_providers::list(&mut *connection, tenant, &Page::first()).await?;
    let sum = consumption::sums(&mut *connection, tenant, &query).await?.unwrap_or_default().pop();
    let pools = pools::of_tenant(connection, tenant).await?;
    let quantity = |kind| sum.as_ref().map_or(0, |sum| sum.quantity(kind));
    let provider = |provider: attach_proto::v1::IdentityProvider| Provider {
        path: format!("{}/providers/{}", view.path(), provider.id),
        id: provider.id,
        issuer: provider.issuer,
        audiences: provider.audiences.join(", "),
    };
    Ok(page(&TenantPage {
        shell: Shell::new(&session, "Tenants", view.name.clone()),
        tab: "Tenant",
        pools: pools.iter().map(|of| of.pool.as_str()).collect::<Vec<_>>().join(", "),
        providers: providers.items.into_iter().map(provider).collect(),
        requests: number(sum.as_ref().map_or(0, |sum| sum.requests)),
        input: number(quantity(MeasuredQuantity::INPUT_TOKENS)),
        output: number(quantity(MeasuredQuantity::OUTPUT_TOKENS)),
        tenant: view,
    }))
}
