//! A tenant's API keys: the list, a new one and a new secret of one (each shown once), the end of one.

mod issue;
mod rotate;

pub(super) use issue::{issue, new};
pub(super) use rotate::{ask_rotate, rotate};

use super::{
    error::Failure,
    form::{Posted, Question, SecretPage, Visitor},
    limits::{counter_text, measure_text},
    page::{Shell, duration, next_path, number, page, see, time},
    paging::After,
    tenants::{self, TenantView},
};
use crate::{
    auth::Session,
    db::{api_keys, limits},
    domain::{
        api_key::{ApiKey, KeyText},
        key_scope::KeyScope,
    },
    ops::revoke_key,
    state::App,
};
use askama::Template;
use attach_proto::{
    bundle::Limit,
    id::{KeyId, TenantId},
};
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use jiff::Timestamp;

/// In the order in which they are explained.
const SCOPES: [(KeyScope, &str); 4] = [
    (KeyScope::Inference, "ask models"),
    (KeyScope::Read, "see lists of models"),
    (KeyScope::Admin, "change models"),
    (KeyScope::ActAs, "name its users"),
];

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
    may: String,
    /// It speaks for others.
    names_users: bool,
    models: Vec<String>,
    limits: Vec<String>,
    used: String,
    made: String,
    state: String,
    class: &'static str,
    /// Until when it has two secrets.
    overlap: Option<String>,
    is_good: bool,
    can_rotate: bool,
    path: String,
}

impl Key {
    fn new(key: ApiKey, limits: &[Limit], tenant: &TenantView, now: Timestamp) -> Self {
        let (state, class) = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => (format!("revoked {}", time(at)), "bad"),
            (None, Some(at)) if at <= now => (format!("expired {}", time(at)), "warn"),
            (None, Some(at)) => (format!("good until {}", time(at)), "good"),
            (None, None) => ("good".to_owned(), "good"),
        };
        let held = SCOPES.iter().filter(|(scope, _)| key.scopes.contains(scope));
        let held = held.filter(|(scope, _)| *scope != KeyScope::ActAs);
        let limits = limits.iter().filter(|limit| limit.scope.keys.contains(&key.id));
        let is_good = key.revoked_at.is_none();
        Self {
            path: format!("{}/keys/{}", tenant.path(), key.id),
            may: held.map(|(_, text)| *text).collect::<Vec<_>>().join(", "),
            names_users: key.scopes.contains(&KeyScope::ActAs),
            models: key.models.iter().map(ToString::to_string).collect(),
            limits: limits.map(limit_text).collect(),
            used: key.last_used_at.map_or_else(|| "not yet".to_owned(), time),
            overlap: key.overlap(now).filter(|_| is_good).map(time),
            can_rotate: is_good && key.expires_at.is_none_or(|at| at > now),
            id: key.id.into(),
            name: key.name,
            owner: key.owner,
            groups: key.groups.join(", "),
            made: time(key.created_at),
            state,
            class,
            is_good,
        }
    }
}

/// Such as “1,000 tokens in 1 day, for each user”.
fn limit_text(limit: &Limit) -> String {
    let amount = number(i64::try_from(limit.amount).unwrap_or(i64::MAX));
    let window = duration(limit.window.as_secs());
    format!("{amount} {} in {window}, {}", measure_text(limit.measure), counter_text(limit.counter))
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = api_keys::list(&mut *connection, tenant, &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|key| key.id.to_string());
    let ids: Vec<_> = part.items.iter().map(|key| key.id.to_string()).collect();
    let limits = limits::of_keys(connection, tenant, &ids).await?;
    let now = app.clock.now();
    Ok(page(&Keys {
        shell: Shell::new(&session, "Tenants", format!("API keys of {}", view.name)),
        tab: "API keys",
        next: next_path(&format!("{}/keys", view.path()), last.as_deref()),
        keys: part.items.into_iter().map(|key| Key::new(key, &limits, &view, now)).collect(),
        tenant: view,
    }))
}

/// Where a key's text is shown, this once.
fn shown(session: &Session, tenant: &TenantView, title: &str, text: &KeyText, after: String) -> Response {
    page(&SecretPage {
        shell: Shell::new(session, "Tenants", title),
        text: "This is the only time that it is shown. Note it now.",
        secret: text.as_str().to_owned(),
        after,
        back: format!("{}/keys", tenant.path()),
    })
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
    let question = Question {
        title: format!("Revoke “{}”?", key.name),
        text: "Callers who use it are refused within a second, for good, and limits for it alone end too. What they used \
               stays on record."
            .to_owned(),
        action: format!("{}/keys/{id}/revoke", view.path()),
        button: "Revoke the key",
        back: format!("{}/keys", view.path()),
    };
    Ok(question.page(&session, "Tenants"))
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
