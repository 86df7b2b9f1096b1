//! Tenants: the list, a new one, one of them.

use super::{
    error::Failure,
    form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
    page::{Shell, next_path, number, page, see, time},
    paging::After,
    provider_keys::ProviderKeys,
};
use crate::{
    auth::Session,
    db::{TenantTx, consumption, identity_providers, issuer_key_sets, pools, quota_stores, tenants},
    domain::{
        page::Page,
        tenant::{TenantChange, TenantRecord},
        usage::{Step, UsageQuery},
        word::Word,
    },
    ops::{create_tenant, update_tenant},
    state::App,
};
use askama::Template;
use attach_proto::{
    bundle::{Durability, QuotaOutage, Tenant},
    id::TenantId,
    usage::MeasuredQuantity,
};
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use jiff::Timestamp;

/// How far back a tenant's own page looks.
const RECENT_DAYS: i64 = 30;

/// A tenant, as its pages and the list show it.
pub(super) struct TenantView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) quota_store: String,
    pub(super) outage: &'static str,
    pub(super) durability: &'static str,
    pub(super) since: String,
}

impl TenantView {
    pub(super) fn path(&self) -> String {
        format!("/tenants/{}", self.id)
    }

    pub(super) fn tabs(&self) -> [(&'static str, String); 4] {
        let path = self.path();
        [
            ("Tenant", path.clone()),
            ("API keys", format!("{path}/keys")),
            ("Limits", format!("{path}/limits")),
            ("Usage", format!("{path}/usage")),
        ]
    }
}

impl From<TenantRecord> for TenantView {
    fn from(TenantRecord { tenant, created_at }: TenantRecord) -> Self {
        Self {
            id: tenant.id.into(),
            name: tenant.name,
            quota_store: tenant.quota_store.into(),
            outage: outage_text(tenant.on_quota_outage),
            durability: durability_text(tenant.durability),
            since: time(created_at),
        }
    }
}

fn outage_text(word: QuotaOutage) -> &'static str {
    match word {
        QuotaOutage::Deny => "Requests are refused",
        QuotaOutage::Allow => "Requests are served and recorded",
    }
}

fn durability_text(word: Durability) -> &'static str {
    match word {
        Durability::Strict => "Answers end in an error",
        Durability::Relaxed => "Answers end as usual, and the gap is counted",
    }
}

fn choices<W: Word>(text: fn(W) -> &'static str) -> Kind {
    Kind::Choice(W::ALL.iter().map(|word| (word.name().to_owned(), text(*word).to_owned())).collect())
}

/// A transaction of a tenant that is there.
pub(super) async fn open(app: &App, tenant: &str) -> Result<(TenantTx, TenantView), Failure> {
    let tenant: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let mut tx = app.db.tenant(tenant).await?;
    let (connection, tenant) = tx.parts();
    let found = tenants::find(connection, tenant).await?.ok_or(Failure::NotFound("tenant"))?;
    Ok((tx, found.into()))
}

#[derive(Template)]
#[template(path = "tenants.html")]
struct Tenants {
    shell: Shell,
    tenants: Vec<TenantView>,
    next: Option<String>,
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let mut tx = app.db.operator().await?;
    let part = tenants::list(tx.connection(), &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|record| record.tenant.id.to_string());
    Ok(page(&Tenants {
        shell: Shell::new(&session, "Tenants", "Tenants"),
        next: next_path("/tenants", last.as_deref()),
        tenants: part.items.into_iter().map(TenantView::from).collect(),
    }))
}

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
    keys: ProviderKeys,
    path: String,
}

pub(super) async fn show(
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
    let provider = |provider: attach_proto::v1::IdentityProvider| Provider {
        path: format!("{}/providers/{}", view.path(), provider.id),
        keys: ProviderKeys::new(&provider, keys.remove(&provider.id)),
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

pub(super) async fn new(Visitor(session): Visitor, State(app): State<App>) -> Result<Response, Failure> {
    new_form(&app, &session, &Sent::default(), None).await
}

async fn new_form(
    app: &App,
    session: &Session,
    sent: &Sent,
    wrong: Option<Wrong>,
) -> Result<Response, Failure> {
    let mut tx = app.db.operator().await?;
    let pools = pools::list(tx.connection(), &Page::first()).await?.items;
    let stores = quota_stores::list(tx.connection(), &Page::first()).await?.items;
    let is_ready = !pools.is_empty() && !stores.is_empty();
    let pools = pools.into_iter().map(|pool| (pool.id.to_string(), format!("{} ({})", pool.name, pool.id)));
    let stores = stores.into_iter().map(|store| (store.id.to_string(), store.id.to_string()));
    let fields = vec![
        Field::text("id", "Id", "Letters, digits and . _ - : @; it never changes.", sent.text("id")),
        Field::text("name", "Name", "As people know it.", sent.text("name")),
        Field::new(
            Kind::Choice(pools.collect()),
            "pool",
            "Pool",
            "The GPU hosts that serve it from the start.",
            sent.text("pool"),
        ),
        Field::new(
            Kind::Choice(stores.collect()),
            "quota_store",
            "Quota store",
            "Where its limits are counted.",
            sent.text("quota_store"),
        ),
    ];
    let mut form = FormPage::new(session, "Tenants", "New tenant", "/tenants", "/tenants", fields);
    form.parent = Some(("Tenants".to_owned(), "/tenants".to_owned()));
    form.button = "Make the tenant";
    if !is_ready {
        form.text = "There must be a pool and a quota store first; the page Pools makes them.";
    }
    Ok(form.answer(wrong))
}

pub(super) async fn create(
    State(app): State<App>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let asked = || {
        let wrong = |field, problem: &dyn std::fmt::Display| Wrong::new(field, problem.to_string());
        let tenant = Tenant {
            id: sent.text("id").parse().map_err(|error| wrong("id", &error))?,
            name: sent.text("name"),
            quota_store: sent.text("quota_store").parse().map_err(|error| wrong("quota_store", &error))?,
            on_quota_outage: QuotaOutage::Deny,
            durability: Durability::Strict,
            did: None,
        };
        let pool = sent.text("pool").parse().map_err(|error| wrong("pool", &error))?;
        Ok((tenant, pool))
    };
    let wrong = match asked() {
        Ok((tenant, pool)) => match create_tenant(&app.db, &session.actor(), &tenant, &pool).await {
            Ok(()) => return Ok(see(&format!("/tenants/{}", tenant.id))),
            Err(error) => Wrong::of(error)?,
        },
        Err(wrong) => wrong,
    };
    new_form(&app, &session, &sent, Some(wrong)).await
}

pub(super) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (mut tx, _) = open(&app, &tenant).await?;
    let (connection, tenant) = tx.parts();
    let record = tenants::find(connection, tenant).await?.ok_or(Failure::NotFound("tenant"))?.tenant;
    let values = [record.name.as_str(), record.on_quota_outage.name(), record.durability.name()];
    Ok(edit_form(&session, record.id.as_str(), values.map(str::to_owned), None))
}

fn edit_form(session: &Session, tenant: &str, values: [String; 3], wrong: Option<Wrong>) -> Response {
    let [name, outage, durability] = values;
    let fields = vec![
        Field::text("name", "Name", "As people know it.", name),
        Field::new(
            choices(outage_text),
            "on_quota_outage",
            "While the quota store does not answer",
            "",
            outage,
        ),
        Field::new(
            choices(durability_text),
            "durability",
            "When usage can't be written to disk within a second",
            "",
            durability,
        ),
    ];
    let path = format!("/tenants/{tenant}");
    let action = format!("{path}/edit");
    let mut form = FormPage::new(session, "Tenants", "Change the tenant", &action, &path, fields);
    form.parent = Some((tenant.to_owned(), path));
    form.answer(wrong)
}

pub(super) async fn update(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let id: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let change = TenantChange {
        name: Some(sent.text("name")),
        on_quota_outage: QuotaOutage::from_name(&sent.text("on_quota_outage")),
        durability: Durability::from_name(&sent.text("durability")),
        // Set by the API alone.
        did: None,
    };
    match update_tenant(&app.db, &session.actor(), &id, &change).await {
        Ok(_) => Ok(see(&format!("/tenants/{id}"))),
        Err(error) => {
            let values = ["name", "on_quota_outage", "durability"].map(|field| sent.text(field));
            Ok(edit_form(&session, &tenant, values, Some(Wrong::of(error)?)))
        }
    }
}
