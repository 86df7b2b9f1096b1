//! Forms: who may send one, what is in it, and how it is shown again with what is wrong beside the field.

mod field;
mod page;
mod sent;
mod wrong;

pub(super) use field::{Field, Group, Kind};
pub(super) use page::{Facts, FormPage, LOOK, Question, SecretPage};
pub(super) use sent::Sent;
pub(super) use wrong::Wrong;

use super::error::Failure;
use crate::{
    auth::{CSRF_FIELD, Session},
    state::App,
};
use axum::{
    Form,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};

/// Who is signed in.
pub(super) struct Visitor(pub(super) Session);

impl FromRequestParts<App> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Ok(Self(Session::of(&parts.headers, app).await?.ok_or(Failure::SignedOut)?))
    }
}

async fn read(request: Request, app: &App) -> Result<Sent, Failure> {
    check_origin(request.headers(), app)?;
    let form = Form::<Vec<(String, String)>>::from_request(request, app).await;
    let Form(fields) = form.map_err(|error| Failure::Unreadable(error.to_string()))?;
    if fields.iter().any(|(_, value)| value.contains('\0')) {
        return Err(Failure::Unreadable("A field has the character U+0000.".to_owned()));
    }
    Ok(Sent::new(fields))
}

/// Browsers say where a form comes from; another site's is none of ours, whatever it holds.
fn check_origin(headers: &HeaderMap, app: &App) -> Result<(), Failure> {
    let own = app.public_url.origin();
    match headers.get(header::ORIGIN) {
        Some(origin) if origin.as_bytes() != own.as_bytes() => Err(Failure::ForeignForm(format!(
            "It was sent from another address than {own}, where this console is (ATTACH_PUBLIC_URL)."
        ))),
        Some(_) | None => Ok(()),
    }
}

/// A form of somebody who is signed in, sent from one of our pages.
pub(super) struct Posted {
    pub(super) session: Session,
    pub(super) sent: Sent,
}

impl FromRequest<App> for Posted {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let session = Session::of(request.headers(), app).await?.ok_or(Failure::SignedOut)?;
        let sent = read(request, app).await?;
        if !session.is_own_csrf(&sent.text(CSRF_FIELD)) {
            let text = "It does not belong to this session. Open the page again, and send it from there.";
            return Err(Failure::ForeignForm(text.to_owned()));
        }
        Ok(Self { session, sent })
    }
}

/// A form of somebody who is not signed in yet.
pub(super) struct Anonymous(pub(super) Sent);

impl FromRequest<App> for Anonymous {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        read(request, app).await.map(Self)
    }
}
