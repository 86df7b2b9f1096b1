//! Forms: who may send one, what is in it, and how it is shown again with what is wrong beside the field.

use super::{
    error::Failure,
    page::{Shell, page_with},
};
use crate::{
    auth::{CSRF_FIELD, Session},
    ops::OpError,
    state::App,
};
use askama::Template;
use attach_proto::Invalid;
use axum::{
    Form,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::Response,
};

/// Who is signed in.
pub(super) struct Visitor(pub(super) Session);

impl FromRequestParts<App> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Ok(Self(Session::of(&parts.headers, app).await?.ok_or(Failure::SignedOut)?))
    }
}

/// The fields of a form, as they were sent.
#[derive(Default)]
pub(super) struct Sent(Vec<(String, String)>);

impl Sent {
    /// Without white space around it; empty when it was not sent.
    pub(super) fn text(&self, name: &str) -> String {
        let found = self.0.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }

    /// Parts between commas.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// What was chosen of a group of boxes.
    pub(super) fn chosen(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str()).collect()
    }

    async fn read(request: Request, app: &App) -> Result<Self, Failure> {
        check_origin(request.headers(), app)?;
        let form = Form::<Vec<(String, String)>>::from_request(request, app).await;
        let Form(fields) = form.map_err(|error| Failure::Unreadable(error.to_string()))?;
        if fields.iter().any(|(_, value)| value.contains('\0')) {
            return Err(Failure::Unreadable("A field has the character U+0000.".to_owned()));
        }
        Ok(Self(fields))
    }
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
        let sent = Sent::read(request, app).await?;
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
        Sent::read(request, app).await.map(Self)
    }
}

pub(super) enum Kind {
    Text,
    Number,
    /// Never shown again.
    Secret,
    /// Values, and what they are called.
    Choice(Vec<(String, String)>),
    /// As many of them as one likes; the field's value has those that are chosen, with commas between.
    Boxes(Vec<(&'static str, &'static str)>),
}

#[derive(Template)]
#[template(path = "field.html")]
pub(super) struct Field {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    kind: Kind,
    value: String,
    error: Option<String>,
}

impl Field {
    pub(super) fn new(
        kind: Kind,
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        value: impl Into<String>,
    ) -> Self {
        Self { name, label, hint, kind, value: value.into(), error: None }
    }

    pub(super) fn text(
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        value: impl Into<String>,
    ) -> Self {
        Self::new(Kind::Text, name, label, hint, value)
    }

    /// With what is wrong, beside the field of this name.
    pub(super) fn mark(fields: &mut [Self], name: &str, problem: String) {
        if let Some(field) = fields.iter_mut().find(|field| field.name == name) {
            field.error = Some(problem);
        }
    }

    fn is_chosen(&self, value: &str) -> bool {
        self.value.split(',').any(|chosen| chosen == value)
    }

    /// The attribute by which a reader is told of the hint and the error. It holds nothing that anybody sent.
    fn described(&self) -> String {
        let mut ids = Vec::new();
        if !self.hint.is_empty() {
            ids.push(format!("{}-hint", self.name));
        }
        if self.error.is_some() {
            ids.push(format!("{}-error", self.name));
        }
        if ids.is_empty() { String::new() } else { format!(" aria-describedby=\"{}\"", ids.join(" ")) }
    }

    fn aria(&self) -> String {
        let invalid = if self.error.is_some() { " aria-invalid=\"true\"" } else { "" };
        format!("{}{invalid}", self.described())
    }
}

/// What is wrong with a form.
#[derive(Debug, Clone)]
pub(super) struct Wrong {
    /// Empty for the form as a whole.
    pub(super) field: String,
    pub(super) problem: String,
}

impl Wrong {
    pub(super) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }

    /// What an operation or the contract says, or the failure that no field explains.
    pub(super) fn of(error: OpError) -> Result<Self, Failure> {
        match error {
            OpError::Invalid { field, problem } => Ok(Self::new(field, problem)),
            OpError::Contract(invalid) => Ok(invalid.into()),
            OpError::Exists(what) => Ok(Self::new("id", format!("is taken: there is such a {what} already"))),
            OpError::NotFound(what) => Ok(Self::new("", format!("There is no such {what} any more."))),
            error @ (OpError::Db(_) | OpError::NoRandomness(_) | OpError::Seal(_)) => Err(error.into()),
        }
    }
}

impl From<Invalid> for Wrong {
    fn from(invalid: Invalid) -> Self {
        // Lists are one field here: `scope.models[0]` is `models`.
        let path = invalid.path.split('[').next().unwrap_or_default();
        Self::new(path.rsplit('.').next().unwrap_or_default(), invalid.problem)
    }
}

/// A page with one form.
#[derive(Template)]
#[template(path = "form.html")]
pub(super) struct FormPage {
    shell: Shell,
    csrf: String,
    problem: Option<String>,
    pub(super) parent: Option<(String, String)>,
    pub(super) text: &'static str,
    pub(super) action: String,
    pub(super) button: &'static str,
    pub(super) back: String,
    pub(super) fields: Vec<Field>,
}

impl FormPage {
    pub(super) fn new(
        session: &Session,
        section: &'static str,
        title: impl Into<String>,
        action: &str,
        back: &str,
        fields: Vec<Field>,
    ) -> Self {
        Self {
            shell: Shell::new(session, section, title),
            csrf: session.csrf(),
            problem: None,
            parent: None,
            text: "",
            action: action.to_owned(),
            button: "Save",
            back: back.to_owned(),
            fields,
        }
    }

    /// With what is wrong, if something is: beside its field, or above all.
    pub(super) fn answer(mut self, wrong: Option<Wrong>) -> Response {
        let Some(wrong) = wrong else { return super::page::page(&self) };
        match self.fields.iter_mut().find(|field| field.name == wrong.field) {
            Some(field) => {
                self.problem = Some(format!("{}: {}.", field.label, wrong.problem));
                field.error = Some(wrong.problem);
            }
            None => self.problem = Some(format!("{} {}", wrong.field, wrong.problem).trim().to_owned()),
        }
        page_with(StatusCode::UNPROCESSABLE_ENTITY, &self)
    }
}

/// Asks before something ends.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm {
    pub(super) shell: Shell,
    pub(super) csrf: String,
    pub(super) text: String,
    pub(super) action: String,
    pub(super) button: &'static str,
    pub(super) back: String,
}

/// Shows a secret, this once.
#[derive(Template)]
#[template(path = "secret.html")]
pub(super) struct SecretPage {
    pub(super) shell: Shell,
    pub(super) text: &'static str,
    pub(super) secret: String,
    pub(super) after: String,
    pub(super) back: String,
}
