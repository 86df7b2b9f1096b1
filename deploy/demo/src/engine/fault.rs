//! What the engine refuses, in the words that Ollama's server has for it.

use super::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("missing request body")]
    NoBody,
    #[error("http: request body too large")]
    TooLarge,
    /// The client left or broke the framing while it sent its body; nobody reads this.
    #[error("unexpected EOF")]
    BodyBroken,
    #[error("{0}")]
    NotJson(String),
    #[error("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}")]
    WrongType { found: &'static str, field: &'static str, wanted: &'static str },
    #[error("option \"{name}\" must be of type {wanted}")]
    WrongOption { name: &'static str, wanted: &'static str },
    #[error("model is required")]
    NoModel,
    #[error("model '{0}' not found")]
    UnknownModel(String),
    #[error("model \"{0}\" not found, try pulling it first")]
    UnknownModelTryPull(String),
    #[error("[] is too short - 'messages'")]
    NoMessages,
    #[error("max_tokens is required and must be positive")]
    NoMaxTokens,
    #[error("registry.ollama.ai/library/demo:latest does not support tools")]
    NoTools,
}

/// Whose shape an error takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dialect {
    Ollama,
    OpenAi,
    Anthropic,
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoBody
            | Self::BodyBroken
            | Self::NotJson(_)
            | Self::WrongType { .. }
            | Self::NoModel
            | Self::NoMessages
            | Self::NoMaxTokens
            | Self::NoTools => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownModel(_) | Self::UnknownModelTryPull(_) => StatusCode::NOT_FOUND,
            // As the real server, which checks options only when it loads the model.
            Self::WrongOption { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn into_response(self, dialect: Dialect) -> Response<Body> {
        let status = self.status();
        let message = self.to_string();
        let body = match dialect {
            Dialect::Ollama => json!({"error": message}),
            Dialect::OpenAi => {
                // OpenAI's routes of Ollama say "EOF" for an empty body, and know two types.
                let message = if matches!(self, Self::NoBody) { "EOF".to_owned() } else { message };
                let kind =
                    if status == StatusCode::BAD_REQUEST { "invalid_request_error" } else { "api_error" };
                json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
            }
            Dialect::Anthropic => {
                let kind = match status {
                    StatusCode::NOT_FOUND => "not_found_error",
                    StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => "invalid_request_error",
                    _ => "api_error",
                };
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
        };
        let mut response = Response::new(Body::whole(body.to_string()));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        response
    }
}
