//! A new key.

use super::{
    super::{
        error::Failure,
        form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
        limits::{choices, counter_text, measure_text},
        tenants::{self, TenantView},
    },
    SCOPES, shown,
};
use crate::{
    auth::Session,
    domain::{key_scope::KeyScope, usage::Step, word::Word},
    ops::{KeyLimit, NewKey, issue_key},
    state::App,
};
use attach_proto::{
    bundle::{Counter, Measure},
    id::{ModelName, TenantId},
};
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::Timestamp;
use std::time::Duration;

/// Lives to choose from, in days.
const LIVES: [(&str, &str); 5] =
    [("", "for ever"), ("1", "a day"), ("30", "30 days"), ("90", "90 days"), ("365", "a year")];

/// Windows to choose from, in seconds.
const WINDOWS: [(&str, &str); 4] =
    [("60", "a minute"), ("3600", "an hour"), ("86400", "a day"), ("2592000", "30 days")];

pub(in crate::console) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    let usual: Vec<_> = KeyScope::USUAL.iter().map(|scope| scope.name()).collect();
    Ok(form(&session, &view, &Sent::default(), usual.join(","), None))
}

fn form(
    session: &Session,
    tenant: &TenantView,
    sent: &Sent,
    scopes: String,
    wrong: Option<Wrong>,
) -> Response {
    let owned = |list: &[(&str, &str)]| {
        Kind::Choice(list.iter().map(|(of, text)| ((*of).to_owned(), (*text).to_owned())).collect())
    };
    let boxes = SCOPES.iter().map(|(scope, text)| (scope.name(), *text)).collect();
    let fields = vec![
        Field::text("name", "Name", "Where it will be used, such as “CI”.", sent.text("name")),
        Field::text("owner", "Owner", "Whom its usage is recorded for.", sent.text("owner")),
        Field::text("groups", "Groups", "With commas between; may be empty.", sent.text("groups")),
        Field::new(
            Kind::Boxes(boxes),
            "scopes",
            "It may",
            "Only an application such as Open WebUI names its users: usage and limits are then theirs.",
            scopes,
        ),
        Field::text("models", "Only models", "With commas between; empty for all.", sent.text("models")),
        Field::new(owned(&LIVES), "days", "Good", "", sent.text("days")),
        Field::new(
            Kind::Number,
            "amount",
            "Limit",
            "How much is allowed with this key; empty for no limit of its own.",
            sent.text("amount"),
        ),
        Field::new(choices(measure_text), "measure", "Of", "", sent.text("measure")),
        Field::new(owned(&WINDOWS), "window", "Within", "", sent.text("window")),
        Field::new(choices(counter_text), "counter", "Counted", "", sent.text("counter")),
    ];
    let path = format!("{}/keys", tenant.path());
    let mut form = FormPage::new(session, "Tenants", "New API key", &path, &path, fields);
    form.parent = Some((tenant.name.clone(), path.clone()));
    form.text = "The key is shown once, on the next page.";
    form.button = "Make the key";
    form.answer(wrong)
}

pub(in crate::console) async fn issue(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (tx, view) = tenants::open(&app, &tenant).await?;
    drop(tx);
    let id: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let now = app.clock.now();
    let wrong = match asked(&sent, now) {
        Ok(new) => match issue_key(&app.db, &session.actor(), &id, new, now).await {
            Ok((_, text)) => {
                let after = "Callers send it as “Authorization: Bearer …”. Gateways know it within a second.";
                return Ok(shown(&session, &view, "Your new API key", &text, after.to_owned()));
            }
            Err(error) => Wrong::of(error)?,
        },
        Err(wrong) => wrong,
    };
    Ok(form(&session, &view, &sent, sent.chosen("scopes").join(","), Some(wrong)))
}

fn asked(sent: &Sent, now: Timestamp) -> Result<NewKey, Wrong> {
    let one_of_these = |field| Wrong::new(field, "is not one of these");
    let scopes = sent.chosen("scopes").into_iter().map(KeyScope::from_name).collect::<Option<Vec<_>>>();
    let scopes = scopes.ok_or_else(|| one_of_these("scopes"))?;
    if scopes.is_empty() {
        return Err(Wrong::new("scopes", "needs at least one"));
    }
    let model =
        |name: String| name.parse::<ModelName>().map_err(|error| Wrong::new("models", error.to_string()));
    Ok(NewKey {
        name: sent.text("name"),
        owner: sent.text("owner"),
        groups: sent.list("groups"),
        scopes,
        models: sent.list("models").into_iter().map(model).collect::<Result<_, _>>()?,
        expires_at: expiry(&sent.text("days"), now).ok_or_else(|| one_of_these("days"))?,
        limits: limit(sent)?.into_iter().collect(),
    })
}

/// `None` for what is not to choose from.
fn expiry(days: &str, now: Timestamp) -> Option<Option<Timestamp>> {
    LIVES.iter().find(|(of, _)| *of == days)?;
    let Ok(days) = days.parse::<i64>() else { return Some(None) };
    Timestamp::from_second(now.as_second() + days * Step::Day.seconds()).ok().map(Some)
}

fn limit(sent: &Sent) -> Result<Option<KeyLimit>, Wrong> {
    let amount = sent.text("amount").replace([',', ' '], "");
    if amount.is_empty() {
        return Ok(None);
    }
    let one_of_these = |field| move || Wrong::new(field, "is not one of these");
    let window = sent.text("window");
    let window = WINDOWS.iter().find(|(of, _)| *of == window).and_then(|(of, _)| of.parse().ok());
    Ok(Some(KeyLimit {
        counter: Counter::from_name(&sent.text("counter")).ok_or_else(one_of_these("counter"))?,
        measure: Measure::from_name(&sent.text("measure")).ok_or_else(one_of_these("measure"))?,
        amount: amount.parse().map_err(|_| Wrong::new("amount", "must be a whole number"))?,
        window: Duration::from_secs(window.ok_or_else(one_of_these("window"))?),
    }))
}
