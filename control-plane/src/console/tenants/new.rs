//! A new tenant.

use super::super::{
    error::Failure,
    form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
    page::see,
};
use crate::{
    auth::Session,
    db::{pools, quota_stores},
    domain::page::Page,
    ops::create_tenant,
    state::App,
};
use attach_proto::bundle::{Durability, QuotaOutage, Tenant};
use axum::{extract::State, response::Response};

pub(in crate::console) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
) -> Result<Response, Failure> {
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
        Field::id(sent),
        Field::of(Kind::Text, "name", "Name", "As people know it.", sent),
        Field::of(
            Kind::Choice(pools.collect()),
            "pool",
            "Pool",
            "The GPU hosts that serve it from the start.",
            sent,
        ),
        Field::of(
            Kind::Choice(stores.collect()),
            "quota_store",
            "Quota store",
            "Where its limits are counted.",
            sent,
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

pub(in crate::console) async fn create(
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
