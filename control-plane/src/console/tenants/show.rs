//! One tenant: what it used, how it is set, whose callers it has.

use super::{
    super::{
        dids::meaning,
        error::Failure,
        form::Visitor,
        page::{Shell, number, page},
        provider_keys::ProviderKeys,
    },
    TenantView, open,
};
use crate::{
    db::{consumption, identity_providers, issuer_key_sets, pools},
    domain::{
        page::Page,
        usage::{Step, UsageQuery},
    },
    state::App,
};
use askama::Template;
use attach_proto::{Taken, did::DidPolicy, usage::MeasuredQuantity, v1};
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What fits beside the rest; the form has them all.
const MOST_DIDS: usize = 10;

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
    dids: Dids,
    requests: String,
    input: String,
    output: String,
}

struct Dids {
    /// What the policy means, where there is one.
    meaning: Option<String>,
    /// Of those that are named, the first ones.
    named: Vec<String>,
    more: Option<String>,
}

impl Dids {
    fn of(policy: Option<&DidPolicy>) -> Self {
        let named = policy.map(|policy| &policy.allowed.listed);
        let more = named.map_or(0, BTreeSet::len).saturating_sub(MOST_DIDS);
        Self {
            meaning: policy.map(meaning),
            named: named.into_iter().flatten().take(MOST_DIDS).map(ToString::to_string).collect(),
            more: (more > 0).then(|| format!("and {} more", number(i64::try_from(more).unwrap_or(i64::MAX)))),
        }
    }
}

struct Provider {
    id: String,
    issuer: String,
    product: &'static str,
    audiences: String,
    keys: ProviderKeys,
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
    let mut keys = issuer_key_sets::of_tenant(&mut *connection, tenant, app.jwks_ttl).await?;
    let sum = consumption::sums(&mut *connection, tenant, &query).await?.unwrap_or_default().pop();
    let pools = pools::of_tenant(connection, tenant).await?;
    let quantity = |kind| sum.as_ref().map_or(0, |sum| sum.quantity(kind));
    let provider = |provider: v1::IdentityProvider| Provider {
        path: format!("{}/providers/{}", view.path(), provider.id),
        keys: ProviderKeys::new(&provider, keys.remove(&provider.id)),
        product: Taken::of(&provider).ok().and_then(|taken| taken.product).unwrap_or_default(),
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
        dids: Dids::of(view.did.as_ref()),
        tenant: view,
    }))
}
