//! The models that a bundle names, as the dialects list them.

use crate::{
    answer::AnswerBody, ask::Dialect, authorize::visible_models, identify::Principal, snapshot::Snapshot,
};
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderValue, Response, header};

/// The bundle's own list, of what this caller may use; the engines' lists would tell of more.
pub(crate) fn declared_models(
    dialect: Dialect,
    principal: &Principal,
    snapshot: &Snapshot,
) -> Response<AnswerBody> {
    let names = visible_models(principal, snapshot).map(|model| model.name.as_str());
    let value = match dialect {
        Dialect::Ollama => {
            let models = names.map(|name| {
                serde_json::json!({ "name": name, "model": name, "digest": name_digest(name), "size": 0 })
            });
            serde_json::json!({ "models": models.collect::<Vec<_>>() })
        }
        Dialect::OpenAi | Dialect::Anthropic => {
            let models = names.map(|name| {
                serde_json::json!({ "id": name, "object": "model", "created": 0, "owned_by": "attach-gateway" })
            });
            serde_json::json!({ "object": "list", "data": models.collect::<Vec<_>>() })
        }
    };
    let mut response = Response::new(AnswerBody::whole(value.to_string().into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Ollama's own command shows the first twelve digits of a model's digest, and breaks down where there are none. Which
/// weights are behind a name is not the caller's affair, so it is the name's.
fn name_digest(name: &str) -> String {
    digest(&SHA256, name.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
