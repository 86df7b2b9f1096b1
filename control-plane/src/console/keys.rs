//! A tenant's API keys: the list, a new one (shown once), the end of one.

use super::{
    error::Failure,
    form::{Confirm, Field, FormPage, Kind, Posted, SecretPage, Sent, Visitor, Wrong},
    page::{Shell, next_path, page, see, time},
    paging::After,
    tenants::{self, TenantView},
};
use crate::{
    auth::Session,
    db::api_keys,
    domain::{api_key::ApiKey, usage::Step},
    ops::{NewKey, issue_key, revoke_key},
    state::App,
};
use askama::Template;
use attach_proto::id::{KeyId, TenantId};
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use jiff::Timestamp;

/// Lives to choose from, in days.
const LIVES: [(&str, &str); 5] =
    [("", "for ever"), ("1", "a day"), ("30", "30 days"), ("90", "90 days"), ("365", "a year")];

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys {
    shell: Shell,
    tenant: TenantView,
    tab: &'static str,
    keys: Vec<Key>,
    next: Option<String>,
}

struct Key {
    id: String,
    name: String,
    owner: String,
    groups: String,
    made: String,
    state: String,
    class: &'static str,
    is_good: bool,
    path: String,
}

impl Key {
    fn new(key: ApiKey, tenant: &TenantView, now: Timestamp) -> Self {
        let (state, class) = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => (format!("revoked {}", time(at)), "bad"),
            (None, Some(at)) if at <= now => (format!("expired {}", time(at)), "warn"),
            (None, Some(at)) => (format!("good until {}", time(at)), "good"),
            (None, None) => ("good".to_owned(), "good"),
        };
        Self {
            path: format!("{}/keys/{}", tenant.path(), key.id),
            id: key.id.into(),
            name: key.name,
            owner: key.owner,
            groups: key.groups.join(", "),
            made: time(key.created_at),
            state,
            class,
            is_good: key.revoked_at.is_none(),
        }
    }
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = api_keys::list(connection, tenant, &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|key| key.id.to_string());
    let now = app.clock.now();
    Ok(page(&Keys {
        shell: Shell::new(&session, "Tenants", format!("API keys of {}", view.name)),
        tab: "API keys",
        next: next_path(&format!("{}/keys", view.path()), last.as_deref()),
        keys: part.items.into_iter().map(|key| Key::new(key, &view, now)).collect(),
        tenant: view,
    }))
}

pub(super) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    Ok(new_form(&session, &view, &Sent::default(), None))
}

fn new_form(session: &Session, tenant: &TenantView, sent: &Sent, wrong: Option<Wrong>) -> Response {
    let lives = LIVES.iter().map(|(days, text)| ((*days).to_owned(), (*text).to_owned()));
    let fields = vec![
        Field::text("name", "Name", "Where it will be used, such as “CI”.", sent.text("name")),
        Field::text("owner", "Owner", "Whom its usage is recorded for.", sent.text("owner")),
        Field::text("groups", "Groups", "With commas between; may be empty.", sent.text("groups")),
        Field::new(Kind::Choice(lives.collect()), "days", "Good", "", sent.text("days")),
    ];
    let path = format!("{}/keys", tenant.path());
    let mut form = FormPage::new(session, "Tenants", "New API key", &path, &path, fields);
    form.parent = Some((tenant.name.clone(), path.clone()));
    form.text = "The key is shown once, on the next page.";
    form.button = "Make the key";
    form.answer(wrong)
}

pub(super) async fn issue(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (tx, view) = tenants::open(&app, &tenant).await?;
    drop(tx);
    let id: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let now = app.clock.now();
    let Some(expires_at) = expiry(&sent.text("days"), now) else {
        return Ok(new_form(&session, &view, &sent, Some(Wrong::new("days", "is not one of these"))));
    };
    let new = NewKey {
        name: sent.text("name"),
        owner: sent.text("owner"),
        groups: sent.list("groups"),
        expires_at,
    };
    match issue_key(&app.db, &session.actor(), &id, new, now).await {
        Ok((_, text)) => Ok(page(&SecretPage {
            shell: Shell::new(&session, "Tenants", "Your new API key"),
            text: "This is the only time that it is shown. Note it now.",
            secret: text.as_str().to_owned(),
            after: "Callers send it as “Authorization: Bearer …”. Gateways know it within a second."
                .to_owned(),
            back: format!("{}/keys", view.path()),
        })),
        Err(error) => Ok(new_form(&session, &view, &sent, Some(Wrong::of(error)?))),
    }
}

/// `None` for what is not to choose from.
fn expiry(days: &str, now: Timestamp) -> Option<Option<Timestamp>> {
    LIVES.iter().find(|(of, _)| *of == days)?;
    let Ok(days) = days.parse::<i64>() else { return Some(None) };
    Timestamp::from_second(now.as_second() + days * Step::Day.seconds()).ok().map(Some)
}

pub(super) async fn ask_revoke(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, key)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let id: KeyId = key.parse().map_err(|_| Failure::NotFound("key"))?;
    let (connection, tenant) = tx.parts();
    let key = api_keys::find(connection, tenant, &id).await?.ok_or(Failure::NotFound("key"))?;
    Ok(page(&Confirm {
        shell: Shell::new(&session, "Tenants", format!("Revoke “{}”?", key.name)),
        csrf: session.csrf(),
        text: "Callers who use it are refused within a second, for good. What they used stays on record."
            .to_owned(),
        action: format!("{}/keys/{id}/revoke", view.path()),
        button: "Revoke the key",
        back: format!("{}/keys", view.path()),
    }))
}

pub(super) async fn revoke(
    State(app): State<App>,
    Path((tenant, key)): Path<(String, String)>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let tenant: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let key = key.parse().map_err(|_| Failure::NotFound("key"))?;
    revoke_key(&app.db, &session.actor(), &tenant, &key).await?;
    Ok(see(&format!("/tenants/{tenant}/keys")))
}
