//! The same failures as the API has, as pages.

use super::page::{Shell, page_with};
use crate::{db::DbError, ops::OpError};
use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

#[derive(Debug)]
pub(super) enum Failure {
    SignedOut,
    NotFound(&'static str),
    /// A form that was not sent from a page of the console.
    ForeignForm(String),
    Unreadable(String),
    Unavailable,
    Fault,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    shell: Shell,
    text: String,
    back: &'static str,
    back_text: &'static str,
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(error) => {
                tracing::warn!("the database is not available: {error}");
                Self::Unavailable
            }
            DbError::Full(full) => Self::Unreadable(format!("{full}.")),
            DbError::Value(_) => {
                Self::Unreadable("A value is beyond what can be kept or looked for.".to_owned())
            }
            DbError::Conflict { .. } | DbError::Statement(_) => fault(&error),
        }
    }
}

/// For operations whose refusals no field explains.
impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        match error {
            OpError::NotFound(what) => Self::NotFound(what),
            OpError::Invalid { .. } | OpError::Contract(_) | OpError::Exists(_) => {
                Self::Unreadable(error.to_string())
            }
            OpError::Db(error) => error.into(),
            OpError::NoRandomness(error) => fault(&error),
            OpError::Seal(error) => fault(&error),
        }
    }
}

/// Told once, here; the page has nothing of it.
fn fault(error: &dyn std::error::Error) -> Failure {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    tracing::error!("a page of the console failed: {error}{cause}");
    Failure::Fault
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::SignedOut => return axum::response::Redirect::to("/sign-in").into_response(),
            Self::NotFound(what) => {
                (StatusCode::NOT_FOUND, "Not found", format!("There is no such {what}, or it is gone."))
            }
            Self::ForeignForm(text) => (StatusCode::FORBIDDEN, "This form was not taken", text),
            Self::Unreadable(text) => (StatusCode::BAD_REQUEST, "This can't be read", text),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database is not available",
                "Nothing was changed. Gateways go on serving meanwhile; try again in a few seconds."
                    .to_owned(),
            ),
            Self::Fault => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong",
                "This is a fault of the control plane, and nothing was changed; its log has more.".to_owned(),
            ),
        };
        let shell = Shell::signed_out(title);
        page_with(status, &Message { shell, text, back: "/", back_text: "To the overview" })
    }
}
