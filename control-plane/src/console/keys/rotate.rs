//! A new secret of a key.

use super::{
    super::{
        error::Failure,
        form::{Field, FormPage, Kind, Posted, Visitor, Wrong},
        page::time,
        tenants::{self, TenantView},
    },
    shown,
};
use crate::{auth::Session, db::api_keys, domain::api_key::ApiKey, ops::rotate_key, state::App};
use attach_proto::id::KeyId;
use axum::{
    extract::{Path, State},
    response::Response,
};
use jiff::{SignedDuration, Timestamp};

/// Overlaps to choose from, in seconds.
const OVERLAPS: [(&str, &str); 5] = [
    ("86400", "for a day more"),
    ("604800", "for 7 days more"),
    ("2592000", "for 30 days more"),
    ("3600", "for an hour more"),
    ("0", "no longer, from now on"),
];

pub(in crate::console) async fn ask_rotate(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, key)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (key, view) = open(&app, &tenant, &key).await?;
    Ok(form(&session, &view, &key, String::new(), app.clock.now(), None))
}

pub(in crate::console) async fn rotate(
    State(app): State<App>,
    Path((tenant, key)): Path<(String, String)>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (key, view) = open(&app, &tenant, &key).await?;
    let (now, overlap) = (app.clock.now(), sent.text("overlap"));
    let seconds = OVERLAPS.iter().find(|(of, _)| *of == overlap).and_then(|(of, _)| of.parse().ok());
    let wrong = match seconds.map(SignedDuration::from_secs) {
        Some(overlap) => {
            let tenant = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
            match rotate_key(&app.db, &session.actor(), &tenant, &key.id, overlap, now).await {
                Ok((key, text)) => {
                    let after = match key.previous_until {
                        Some(until) => format!("The secret before is good until {}.", time(until)),
                        None => "The secret before is refused within a second.".to_owned(),
                    };
                    return Ok(shown(&session, &view, "The key’s new secret", &text, after));
                }
                Err(error) => Wrong::of(error)?,
            }
        }
        None => Wrong::not_one_of_these("overlap"),
    };
    Ok(form(&session, &view, &key, overlap, now, Some(wrong)))
}

/// One that is not revoked.
async fn open(app: &App, tenant: &str, key: &str) -> Result<(ApiKey, TenantView), Failure> {
    let (mut tx, view) = tenants::open(app, tenant).await?;
    let id: KeyId = key.parse().map_err(|_| Failure::NotFound("key"))?;
    let (connection, tenant) = tx.parts();
    let key = api_keys::find(connection, tenant, &id).await?.filter(|key| key.revoked_at.is_none());
    Ok((key.ok_or(Failure::NotFound("key"))?, view))
}

fn form(
    session: &Session,
    tenant: &TenantView,
    key: &ApiKey,
    overlap: String,
    now: Timestamp,
    wrong: Option<Wrong>,
) -> Response {
    // Of two secrets the first was promised until its time; a third ends both.
    let is_under_way = key.overlap(now).is_some();
    let open: Vec<_> = OVERLAPS.into_iter().filter(|(of, _)| !is_under_way || *of == "0").collect();
    let hint = if is_under_way { "It has two secrets; a third ends both." } else { "" };
    let field = Field::new(Kind::choice(&open), "overlap", "The present secret is good", hint, overlap);
    let list = format!("{}/keys", tenant.path());
    let title = format!("A new secret for “{}”", key.name);
    let action = format!("{list}/{}/rotate", key.id);
    let mut form = FormPage::new(session, "Tenants", title, &action, &list, vec![field]);
    form.parent = Some((tenant.name.clone(), list));
    form.text = "It is shown once, on the next page. All else of the key stays as it is.";
    form.button = "Make the secret";
    form.answer(wrong)
}
