//! A new limit, and one that changes.

use super::{
    super::{
        error::Failure,
        form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
        page::see,
        tenants::{self, TenantView},
    },
    counter_text, measure_text,
};
use crate::{auth::Session, db::limits, domain::word::Word as _, ops::set_limit, state::App};
use attach_proto::{
    bundle::{Counter, Limit, Measure},
    id::LimitId,
    v1,
};
use axum::{
    extract::{Path, State},
    response::Response,
};
use std::time::Duration;

/// A limit, as the form shows it.
fn shown(limit: &Limit) -> Sent {
    let models: Vec<_> = limit.scope.models.iter().map(ToString::to_string).collect();
    let keys: Vec<_> = limit.scope.keys.iter().map(ToString::to_string).collect();
    Sent::from_iter([
        ("amount", limit.amount.to_string()),
        ("measure", limit.measure.name().to_owned()),
        ("window", limit.window.as_secs().to_string()),
        ("counter", limit.counter.name().to_owned()),
        ("principals", limit.scope.principals.join(", ")),
        ("groups", limit.scope.groups.join(", ")),
        ("models", models.join(", ")),
        ("keys", keys.join(", ")),
    ])
}

/// `existing` is the limit that changes; its id stays.
fn form(
    session: &Session,
    tenant: &TenantView,
    existing: Option<&str>,
    sent: &Sent,
    wrong: Option<Wrong>,
) -> Response {
    const NARROWED: &str = "With commas between; empty for all.";
    let mut fields = vec![
        Field::of(Kind::Number, "amount", "Amount", "How much is allowed within the window.", sent),
        Field::of(Kind::one_of(measure_text), "measure", "Of", "", sent),
        Field::of(
            Kind::Number,
            "window",
            "Window in seconds",
            "60 is a minute, 3600 an hour, 86400 a day. Windows slide.",
            sent,
        ),
        Field::of(Kind::one_of(counter_text), "counter", "Counted", "", sent),
        Field::of(Kind::Text, "principals", "Only for users", NARROWED, sent),
        Field::of(Kind::Text, "groups", "Only for groups", NARROWED, sent),
        Field::of(Kind::Text, "models", "Only for models", NARROWED, sent),
        Field::of(
            Kind::Text,
            "keys",
            "Only for API keys",
            "Their ids, with commas between; empty for all.",
            sent,
        ),
    ];
    let list = format!("{}/limits", tenant.path());
    let (title, action) = match existing {
        Some(id) => (format!("Change the limit {id}"), format!("{list}/{id}")),
        None => {
            fields.insert(0, Field::id(sent));
            ("New limit".to_owned(), list.clone())
        }
    };
    let mut form = FormPage::new(session, "Tenants", title, &action, &list, fields);
    form.parent = Some((tenant.name.clone(), list));
    form.text = "It holds on all gateways within a second.";
    form.button = "Save the limit";
    form.answer(wrong)
}

pub(in crate::console) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    let usual = Sent::from_iter([
        ("measure", Measure::TotalTokens.name()),
        ("counter", Counter::EachPrincipal.name()),
        ("window", "60"),
    ]);
    Ok(form(&session, &view, None, &usual, None))
}

pub(in crate::console) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (view, limit) = find(&app, &tenant, &id).await?;
    let limit = limit.ok_or(Failure::NotFound("limit"))?;
    Ok(form(&session, &view, Some(&id), &shown(&limit), None))
}

/// What can't be an id is the id of nothing.
async fn find(app: &App, tenant: &str, id: &str) -> Result<(TenantView, Option<Limit>), Failure> {
    let (mut tx, view) = tenants::open(app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let found = match id.parse::<LimitId>() {
        Ok(id) => limits::find(connection, tenant, &id).await?,
        Err(_) => None,
    };
    Ok((view, found))
}

pub(in crate::console) async fn create(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let id = sent.text("id");
    let (view, found) = find(&app, &tenant, &id).await?;
    // Whoever adds one does not mean to replace another.
    if found.is_some() {
        let wrong = Wrong::new("id", "is taken: there is such a limit already");
        return Ok(form(&session, &view, None, &sent, Some(wrong)));
    }
    save(&app, &session, &view, (&id, None), &sent).await
}

pub(in crate::console) async fn update(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (view, found) = find(&app, &tenant, &id).await?;
    found.ok_or(Failure::NotFound("limit"))?;
    save(&app, &session, &view, (&id, Some(&id)), &sent).await
}

async fn save(
    app: &App,
    session: &Session,
    tenant: &TenantView,
    (id, existing): (&str, Option<&str>),
    sent: &Sent,
) -> Result<Response, Failure> {
    let wrong = match asked(&tenant.id, id, sent) {
        Ok(limit) => match set_limit(&app.db, &session.actor(), &limit).await {
            Ok(()) => return Ok(see(&format!("{}/limits", tenant.path()))),
            Err(error) => Wrong::of(error)?,
        },
        Err(wrong) => wrong,
    };
    Ok(form(session, tenant, existing, sent, Some(wrong)))
}

fn asked(tenant: &str, id: &str, sent: &Sent) -> Result<Limit, Wrong> {
    let seconds = u32::try_from(sent.some_number("window")?);
    let seconds = seconds.map_err(|_| Wrong::new("window", "must be at most 366 days"))?;
    let scope = v1::LimitScope {
        principals: sent.list("principals"),
        groups: sent.list("groups"),
        models: sent.list("models"),
        keys: sent.list("keys"),
    };
    let wire = v1::Limit {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        counter: match sent.word("counter")? {
            Counter::Shared => v1::Counter::Shared,
            Counter::EachPrincipal => v1::Counter::EachPrincipal,
            Counter::EachModel => v1::Counter::EachModel,
            Counter::EachPrincipalAndModel => v1::Counter::EachPrincipalAndModel,
        }
        .into(),
        scope: Some(scope),
        measure: match sent.word("measure")? {
            Measure::Requests => v1::Measure::Requests,
            Measure::InputTokens => v1::Measure::InputTokens,
            Measure::OutputTokens => v1::Measure::OutputTokens,
            Measure::TotalTokens => v1::Measure::TotalTokens,
        }
        .into(),
        window: Some(Duration::from_secs(seconds.into()).into()),
        amount: sent.some_number("amount")?,
    };
    Limit::try_from(wire).map_err(Wrong::from)
}
