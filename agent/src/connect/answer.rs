//! What is answered here, and not by the gateway.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

/// Ours, or the gateway's as it comes.
pub(super) type Body = Either<Full<Bytes>, Incoming>;

/// In the words of the dialect that the path belongs to: Ollama's clients read a string, all others an object.
pub(super) fn refusal(status: StatusCode, path: &str, message: &str) -> Response<Body> {
    let json = if path.starts_with("/api/") {
        serde_json::json!({ "error": message })
    } else {
        let code = "connect";
        serde_json::json!({ "type": "error", "error": { "type": code, "code": code, "message": message } })
    };
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(json.to_string()))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
