//! A new key.

use super::{
    super::{
        error::Failure,
        form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
        limits::{counter_text, measure_text},
        tenants::{self, TenantView},
    },
    SCOPES, shown,
};
use crate::{
    auth::Session,
    domain::{key_scope::KeyScope, usage::Step, word::Word as _},
    ops::{KeyLimit, NewKey, issue_key},
    state::App,
};
use attach_proto::id::{ModelName, TenantId};
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
    let usual = KeyScope::USUAL.iter().map(|scope| ("scopes", scope.name())).collect();
    Ok(form(&session, &view, &usual, None))
}

fn form(session: &Session, tenant: &TenantView, sent: &Sent, wrong: Option<Wrong>) -> Response {
    let boxes = SCOPES.iter().map(|(scope, text)| (scope.name(), *text)).collect();
    let fields = vec![
        Field::of(Kind::Text, "name", "Name", "Where it will be used, such as “CI”.", sent),
        Field::of(Kind::Text, "owner", "Owner", "Whom its usage is recorded for.", sent),
        Field::of(Kind::Text, "groups", "Groups", "With commas between; may be empty.", sent),
        Field::of(
            Kind::Boxes(boxes),
            "scopes",
            "It may",
            "Only an application such as Open WebUI names its users: usage and limits are then theirs.",
            sent,
        ),
        Field::of(Kind::Text, "models", "Only models", "With commas between; empty for all.", sent),
        Field::of(Kind::choice(&LIVES), "days", "Good", "", sent),
        Field::of(
            Kind::Number,
            "amount",
            "Limit",
            "How much is allowed with this key; empty for no limit of its own.",
            sent,
        ),
        Field::of(Kind::one_of(measure_text), "measure", "Of", "", sent),
        Field::of(Kind::choice(&WINDOWS), "window", "Within", "", sent),
        Field::of(Kind::one_of(counter_text), "counter", "Counted", "", sent),
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
    Ok(form(&session, &view, &sent, Some(wrong)))
}

fn asked(sent: &Sent, now: Timestamp) -> Result<NewKey, Wrong> {
    let scopes = sent.words::<KeyScope>("scopes")?;
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
        expires_at: expiry(&sent.text("days"), now).ok_or_else(|| Wrong::not_one_of_these("days"))?,
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
    let Some(amount) = sent.number("amount")? else { return Ok(None) };
    let window = sent.text("window");
    let window = WINDOWS.iter().find(|(of, _)| *of == window).and_then(|(of, _)| of.parse().ok());
    Ok(Some(KeyLimit {
        counter: sent.word("counter")?,
        measure: sent.word("measure")?,
        amount,
        window: Duration::from_secs(window.ok_or_else(|| Wrong::not_one_of_these("window"))?),
    }))
}
