//! A tenant's limits: the list, a new one, one that changes, the end of one.

use super::{
    error::Failure,
    form::{Confirm, Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
    page::{Shell, duration, next_path, number, page, see},
    paging::After,
    tenants::{self, TenantView},
};
use crate::{
    auth::Session,
    db::limits,
    domain::word::Word,
    ops::{remove_limit, set_limit},
    state::App,
};
use askama::Template;
use attach_proto::{
    bundle::{Counter, Limit, Measure},
    id::{LimitId, TenantId},
    v1,
};
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use std::time::Duration;

#[derive(Template)]
#[template(path = "limits.html")]
struct Limits {
    shell: Shell,
    tenant: TenantView,
    tab: &'static str,
    limits: Vec<LimitView>,
    next: Option<String>,
}

struct LimitView {
    id: String,
    amount: String,
    measure: &'static str,
    window: String,
    counter: &'static str,
    scope: String,
    path: String,
}

impl LimitView {
    fn new(limit: Limit, tenant: &TenantView) -> Self {
        let models: Vec<_> = limit.scope.models.iter().map(ToString::to_string).collect();
        let keys: Vec<_> = limit.scope.keys.iter().map(ToString::to_string).collect();
        let narrowed = [
            ("users", limit.scope.principals.join(", ")),
            ("groups", limit.scope.groups.join(", ")),
            ("models", models.join(", ")),
            ("keys", keys.join(", ")),
        ];
        let narrowed = narrowed.iter().filter(|(_, list)| !list.is_empty());
        let narrowed: Vec<_> = narrowed.map(|(what, list)| format!("{what} {list}")).collect();
        Self {
            path: format!("{}/limits/{}", tenant.path(), limit.id),
            id: limit.id.into(),
            amount: number(i64::try_from(limit.amount).unwrap_or(i64::MAX)),
            measure: measure_text(limit.measure),
            window: duration(limit.window.as_secs()),
            counter: counter_text(limit.counter),
            scope: if narrowed.is_empty() { "everybody".to_owned() } else { narrowed.join("; ") },
        }
    }
}

pub(super) fn measure_text(word: Measure) -> &'static str {
    match word {
        Measure::Requests => "requests",
        Measure::InputTokens => "input tokens",
        Measure::OutputTokens => "output tokens",
        Measure::TotalTokens => "tokens",
    }
}

pub(super) fn counter_text(word: Counter) -> &'static str {
    match word {
        Counter::Shared => "for all together",
        Counter::EachPrincipal => "for each user",
        Counter::EachModel => "for each model",
        Counter::EachPrincipalAndModel => "for each user and model",
    }
}

pub(super) fn choices<W: Word>(text: fn(W) -> &'static str) -> Kind {
    Kind::Choice(W::ALL.iter().map(|word| (word.name().to_owned(), text(*word).to_owned())).collect())
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = limits::list(connection, tenant, &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|limit| limit.id.to_string());
    Ok(page(&Limits {
        shell: Shell::new(&session, "Tenants", format!("Limits of {}", view.name)),
        tab: "Limits",
        next: next_path(&format!("{}/limits", view.path()), last.as_deref()),
        limits: part.items.into_iter().map(|limit| LimitView::new(limit, &view)).collect(),
        tenant: view,
    }))
}

/// The form's values: a limit's, what somebody sent, or those of a new one.
#[derive(Default)]
struct Values {
    id: String,
    amount: String,
    measure: String,
    window: String,
    counter: String,
    principals: String,
    groups: String,
    models: String,
    keys: String,
}

impl From<&Limit> for Values {
    fn from(limit: &Limit) -> Self {
        let models: Vec<_> = limit.scope.models.iter().map(ToString::to_string).collect();
        let keys: Vec<_> = limit.scope.keys.iter().map(ToString::to_string).collect();
        Self {
            id: limit.id.to_string(),
            amount: limit.amount.to_string(),
            measure: limit.measure.name().to_owned(),
            window: limit.window.as_secs().to_string(),
            counter: limit.counter.name().to_owned(),
            principals: limit.scope.principals.join(", "),
            groups: limit.scope.groups.join(", "),
            models: models.join(", "),
            keys: keys.join(", "),
        }
    }
}

impl From<&Sent> for Values {
    fn from(sent: &Sent) -> Self {
        Self {
            id: sent.text("id"),
            amount: sent.text("amount"),
            measure: sent.text("measure"),
            window: sent.text("window"),
            counter: sent.text("counter"),
            principals: sent.text("principals"),
            groups: sent.text("groups"),
            models: sent.text("models"),
            keys: sent.text("keys"),
        }
    }
}

/// `existing` is the limit that changes; its id stays.
fn form(
    session: &Session,
    tenant: &TenantView,
    existing: Option<&str>,
    values: Values,
    wrong: Option<Wrong>,
) -> Response {
    let mut fields = vec![
        Field::new(Kind::Number, "amount", "Amount", "How much is allowed within the window.", values.amount),
        Field::new(choices(measure_text), "measure", "Of", "", values.measure),
        Field::new(
            Kind::Number,
            "window",
            "Window in seconds",
            "60 is a minute, 3600 an hour, 86400 a day. Windows slide.",
            values.window,
        ),
        Field::new(choices(counter_text), "counter", "Counted", "", values.counter),
        Field::text("principals", "Only for users", "With commas between; empty for all.", values.principals),
        Field::text("groups", "Only for groups", "With commas between; empty for all.", values.groups),
        Field::text("models", "Only for models", "With commas between; empty for all.", values.models),
        Field::text(
            "keys",
            "Only for API keys",
            "Their ids, with commas between; empty for all.",
            values.keys,
        ),
    ];
    let list = format!("{}/limits", tenant.path());
    let (title, action) = match existing {
        Some(id) => (format!("Change the limit {id}"), format!("{list}/{id}")),
        None => {
            let hint = "Letters, digits and . _ - : @; it never changes.";
            fields.insert(0, Field::text("id", "Id", hint, values.id));
            ("New limit".to_owned(), list.clone())
        }
    };
    let mut form = FormPage::new(session, "Tenants", title, &action, &list, fields);
    form.parent = Some((tenant.name.clone(), list));
    form.text = "It holds on all gateways within a second.";
    form.button = "Save the limit";
    form.answer(wrong)
}

pub(super) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    let values = Values {
        measure: Measure::TotalTokens.name().to_owned(),
        counter: Counter::EachPrincipal.name().to_owned(),
        window: "60".to_owned(),
        ..Values::default()
    };
    Ok(form(&session, &view, None, values, None))
}

pub(super) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let id: LimitId = id.parse().map_err(|_| Failure::NotFound("limit"))?;
    let (connection, tenant) = tx.parts();
    let limit = limits::find(connection, tenant, &id).await?.ok_or(Failure::NotFound("limit"))?;
    Ok(form(&session, &view, Some(id.as_str()), Values::from(&limit), None))
}

pub(super) async fn create(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let mut values = Values::from(&sent);
    // Whoever adds one does not mean to replace another.
    let (connection, of) = tx.parts();
    let is_taken = match values.id.parse::<LimitId>() {
        Ok(id) => limits::find(connection, of, &id).await?.is_some(),
        Err(_) => false,
    };
    drop(tx);
    if is_taken {
        let wrong = Wrong::new("id", "is taken: there is such a limit already");
        return Ok(form(&session, &view, None, values, Some(wrong)));
    }
    let id = std::mem::take(&mut values.id);
    save(&app, &session, &view, (&id, None), &sent).await
}

pub(super) async fn update(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let limit: LimitId = id.parse().map_err(|_| Failure::NotFound("limit"))?;
    let (connection, of) = tx.parts();
    limits::find(connection, of, &limit).await?.ok_or(Failure::NotFound("limit"))?;
    drop(tx);
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
    Ok(form(session, tenant, existing, Values::from(sent), Some(wrong)))
}

fn asked(tenant: &str, id: &str, sent: &Sent) -> Result<Limit, Wrong> {
    let whole = |field| {
        let text = sent.text(field).replace([',', ' '], "");
        text.parse::<u64>().map_err(|_| Wrong::new(field, "must be a whole number"))
    };
    let one_of_these = |field| Wrong::new(field, "is not one of these");
    let counter = Counter::from_name(&sent.text("counter")).ok_or_else(|| one_of_these("counter"))?;
    let measure = Measure::from_name(&sent.text("measure")).ok_or_else(|| one_of_these("measure"))?;
    let seconds =
        u32::try_from(whole("window")?).map_err(|_| Wrong::new("window", "must be at most 366 days"))?;
    let scope = v1::LimitScope {
        principals: sent.list("principals"),
        groups: sent.list("groups"),
        models: sent.list("models"),
        keys: sent.list("keys"),
    };
    let wire = v1::Limit {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        counter: match counter {
            Counter::Shared => v1::Counter::Shared,
            Counter::EachPrincipal => v1::Counter::EachPrincipal,
            Counter::EachModel => v1::Counter::EachModel,
            Counter::EachPrincipalAndModel => v1::Counter::EachPrincipalAndModel,
        }
        .into(),
        scope: Some(scope),
        measure: match measure {
            Measure::Requests => v1::Measure::Requests,
            Measure::InputTokens => v1::Measure::InputTokens,
            Measure::OutputTokens => v1::Measure::OutputTokens,
            Measure::TotalTokens => v1::Measure::TotalTokens,
        }
        .into(),
        window: Some(Duration::from_secs(seconds.into()).into()),
        amount: whole("amount")?,
    };
    Limit::try_from(wire).map_err(Wrong::from)
}

pub(super) async fn ask_remove(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let id: LimitId = id.parse().map_err(|_| Failure::NotFound("limit"))?;
    let (connection, tenant) = tx.parts();
    limits::find(connection, tenant, &id).await?.ok_or(Failure::NotFound("limit"))?;
    Ok(page(&Confirm {
        shell: Shell::new(&session, "Tenants", format!("Remove the limit {id}?")),
        csrf: session.csrf(),
        text: "Within a second it holds nobody any more.".to_owned(),
        action: format!("{}/limits/{id}/remove", view.path()),
        button: "Remove the limit",
        back: format!("{}/limits", view.path()),
    }))
}

pub(super) async fn remove(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let tenant: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let id = id.parse().map_err(|_| Failure::NotFound("limit"))?;
    remove_limit(&app.db, &session.actor(), &tenant, &id).await?;
    Ok(see(&format!("/tenants/{tenant}/limits")))
}
