//! Refusals, as problem documents (RFC 9457).

use crate::{auth::TokenFault, db::DbError, ops::OpError};
use attach_proto::Invalid;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was refused. Nothing of it was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    status: u16,
    title: &'static str,
    /// For programs: `invalid`, `not_found`, `exists`, `full`, `unauthenticated`, `method_not_allowed`, `too_large`,
    /// `unsupported_media_type`, `unavailable` or `fault`.
    code: &'static str,
    /// For people.
    detail: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where in the body, as a JSON Pointer (RFC 6901); for a query parameter its name.
    pointer: String,
    /// A sentence without its subject.
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            code,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing at this path; /api/v1/openapi.json lists all.",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        let detail = "This path has other methods; the header Allow lists them.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    pub(crate) fn too_large(bytes: usize) -> Self {
        let detail = format!("The body is larger than {bytes} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub(crate) fn not_json() -> Self {
        let detail = "The body must be JSON: send it with `Content-Type: application/json`.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// The request as a whole can't be read.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// For a while.
    pub(crate) fn busy(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }

    /// A field can't be what it is.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let error = FieldError { pointer: pointer.into(), detail: detail.into() };
        let detail = format!("{} {}", error.pointer, error.detail);
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        problem.errors.push(error);
        problem
    }

    /// From what the contract says of a message that has other names for some fields.
    pub(crate) fn of_invalid(invalid: &Invalid, names: &[(&str, &str)]) -> Self {
        let pointer = pointer(&invalid.path);
        let renamed = names.iter().find(|(from, _)| *from == pointer).map(|(_, to)| (*to).to_owned());
        Self::field(renamed.unwrap_or(pointer), &invalid.problem)
    }

    /// From what an operation says, which has other names for some fields.
    pub(crate) fn of_op(error: OpError, names: &[(&str, &str)]) -> Self {
        match error {
            OpError::NotFound(what) => Self::not_found(what),
            OpError::Exists(what) => {
                Self::new(StatusCode::CONFLICT, "exists", format!("There is one already: {what}."))
            }
            OpError::Invalid { field, problem } => {
                Self::of_invalid(&Invalid { path: field.to_owned(), problem: problem.to_owned() }, names)
            }
            OpError::Contract(invalid) => Self::of_invalid(&invalid, names),
            OpError::Db(error) => error.into(),
            OpError::NoRandomness(error) => Self::fault(&error),
            OpError::Seal(error) => Self::fault(&error),
        }
    }

    /// Told once, here; the caller gets nothing of it.
    fn fault(error: &dyn std::error::Error) -> Self {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        tracing::error!("a request of the API failed: {error}{cause}");
        let detail = "This is a fault of the control plane; its log has more.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", detail)
    }
}

/// `scope.models[0]` is `/scope/models/0`.
fn pointer(path: &str) -> String {
    let path = path.replace('[', ".").replace(']', "");
    if path.is_empty() { path } else { format!("/{}", path.replace('.', "/")) }
}

impl From<OpError> for Problem {
    fn from(error: OpError) -> Self {
        Self::of_op(error, &[])
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(error) => {
                tracing::warn!("the database is not available: {error}");
                let detail = "The database is not available; try again in a few seconds.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
            DbError::Full(full) => Self::new(StatusCode::CONFLICT, "full", format!("{full}.")),
            DbError::Value(_) => Self::malformed("A value is beyond what can be kept or looked for."),
            DbError::Conflict { .. } | DbError::Statement(_) => Self::fault(&error),
        }
    }
}

impl From<TokenFault> for Problem {
    fn from(fault: TokenFault) -> Self {
        let refused = |detail| Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
        match fault {
            TokenFault::Missing => refused("Send the operator token as `Authorization: Bearer ato_…`."),
            TokenFault::Refused => {
                refused("This token is not good; `attach-control-plane operator-token` makes a new one.")
            }
            TokenFault::Db(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A document of texts and numbers has a JSON form.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_contract_becomes_a_json_pointer() {
        assert_eq!(pointer("scope.models[0]"), "/scope/models/0");
        assert_eq!(pointer("window"), "/window");
        assert_eq!(pointer(""), "");
    }
}
