//! A tenant's identity providers: a new one, one that changes, the end of one. The tenant's own page lists them.

mod form;
mod remove;
mod said;
mod words;

pub(super) use remove::{ask_remove, remove};

use super::{
    error::Failure,
    form::{LOOK, Posted, Sent, Visitor, Wrong},
    page::see,
    tenants::{self, TenantView},
};
use crate::{auth::Session, db::identity_providers, ops::set_identity_provider, state::App};
use attach_proto::{Taken, id::IdentityProviderId, v1};
use axum::{
    extract::{Path, State},
    response::Response,
};
use form::ProviderForm;

pub(super) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    let sent = Sent::default();
    let form = ProviderForm { tenant: &view, existing: None, sent: &sent, taken: None, wrong: None };
    Ok(form.page(&session))
}

pub(super) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (view, provider) = find(&app, &tenant, &id).await?;
    let provider = provider.ok_or(Failure::NotFound("identity provider"))?;
    let (sent, taken) = (said::shown(&provider), Taken::of(&provider).ok());
    let form = ProviderForm { tenant: &view, existing: Some(&id), sent: &sent, taken, wrong: None };
    Ok(form.page(&session))
}

/// What can't be an id is the id of nothing.
async fn find(
    app: &App,
    tenant: &str,
    id: &str,
) -> Result<(TenantView, Option<v1::IdentityProvider>), Failure> {
    let (mut tx, view) = tenants::open(app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let found = match id.parse::<IdentityProviderId>() {
        Ok(id) => identity_providers::find(connection, tenant, &id).await?,
        Err(_) => None,
    };
    Ok((view, found))
}

pub(super) async fn create(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let id = sent.text("id");
    let (view, found) = find(&app, &tenant, &id).await?;
    // Whoever adds one does not mean to replace another.
    if found.is_some() {
        let wrong = Some(Wrong::new("id", "is taken: there is such an identity provider already"));
        let form = ProviderForm { tenant: &view, existing: None, sent: &sent, taken: None, wrong };
        return Ok(form.page(&session));
    }
    let before = v1::IdentityProvider { id, tenant: view.id.clone(), ..Default::default() };
    answer(&app, &session, &view, before, None, &sent).await
}

pub(super) async fn update(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (view, found) = find(&app, &tenant, &id).await?;
    let before = found.ok_or(Failure::NotFound("identity provider"))?;
    answer(&app, &session, &view, before, Some(&id), &sent).await
}

/// Saves what was asked for, or shows what it comes to, by the button that was pressed.
async fn answer(
    app: &App,
    session: &Session,
    tenant: &TenantView,
    before: v1::IdentityProvider,
    existing: Option<&str>,
    sent: &Sent,
) -> Result<Response, Failure> {
    let is_look = !sent.text(LOOK).is_empty();
    let (taken, wrong) = match said::asked(before, sent) {
        Err(wrong) => (None, Some(wrong)),
        Ok(asked) if is_look => match Taken::of(&asked) {
            Ok(taken) => (Some(taken), None),
            Err(invalid) => (None, Some(invalid.into())),
        },
        Ok(asked) => match set_identity_provider(&app.db, &session.actor(), asked).await {
            Ok(()) => return Ok(see(&tenant.path())),
            Err(error) => (None, Some(Wrong::of(error)?)),
        },
    };
    Ok(ProviderForm { tenant, existing, sent, taken, wrong }.page(session))
}
