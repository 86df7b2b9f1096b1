//! From the body of a request that changes an engine to an [`Ask`]: which models it is about, and that it sends the engine
//! nowhere that it may not go.

use super::{
    body::Room,
    read::{AskFault, model_name},
    registry::may_leave,
    request::Ask,
    route::Classified,
};
use crate::json_edit::{Member, TopLevel};
use attach_proto::{id::ModelName, route::Operation};
use bytes::Bytes;

/// Members that say what is changed, and where the engine goes for it. Ollama takes any of them in another case too.
const READ: &[&str] = &[
    "model",
    "name",
    "source",
    "destination",
    "from",
    "insecure",
    "remote_host",
    "modelfile",
    "path",
    "stream",
];

/// Members with which an engine would read what is not a model's, or call what is no registry, and why each is refused.
const REFUSED: &[(&str, &str)] = &[
    ("remote_host", "is not let through: the engine would send prompts to another host"),
    ("modelfile", "is not let through: name what it is made of by `from` or `files`"),
    ("path", "is not let through: name what it is made of by `from` or `files`"),
];

/// `registries` are the hosts that the operator allows beside Ollama's own.
pub(crate) fn read_change(
    classified: Classified,
    body: Bytes,
    room: Room,
    registries: &[String],
) -> Result<Ask, AskFault> {
    let top = TopLevel::parse(&body, READ).map_err(AskFault::Json)?;
    let get = |name: &str| top.get(name).filter(|member| !member.is_null());
    for &(name, problem) in REFUSED {
        if get(name).is_some() {
            return Err(AskFault::Field { name, problem });
        }
    }
    if let Some(insecure) = get("insecure")
        && insecure.boolean() != Some(false)
    {
        return Err(AskFault::Field {
            name: "insecure",
            problem: "must be false: registries are called over TLS",
        });
    }
    let named = |name: &'static str| get(name).map(|member| text(name, member)).transpose();
    let operation = classified.route.operation;
    let (model, other) = if operation == Operation::Copy {
        (named("source")?, named("destination")?)
    } else {
        // Ollama still takes the older `name`.
        match (named("model")?, named("name")?) {
            (Some(model), Some(name)) if model != name => {
                return Err(AskFault::Field { name: "name", problem: "says another model than `model`" });
            }
            (model, name) => (model.or(name), named("from")?),
        }
    };
    let Some(model) = model else { return Err(AskFault::NoModel) };
    let leaves = match operation {
        Operation::Pull | Operation::Push => Some(&model),
        // What it does not have it pulls.
        Operation::Create => other.as_ref(),
        Operation::Copy
        | Operation::Delete
        | Operation::Blob
        | Operation::Opened
        | Operation::Chat
        | Operation::Completion
        | Operation::Embedding
        | Operation::Rerank
        | Operation::Score
        | Operation::Tokenize
        | Operation::Detokenize
        | Operation::Models
        | Operation::Show
        | Operation::Status => None,
    };
    if leaves.is_some_and(|name| !may_leave(name, registries)) {
        return Err(AskFault::Registry);
    }
    Ok(Ask::passing(classified, body, Some(room)).about(model, other))
}

fn text(name: &'static str, member: &Member<'_>) -> Result<ModelName, AskFault> {
    let text = member.string().ok_or(AskFault::Field { name, problem: "must be a string" })?;
    model_name(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{BodyBudget, classify};
    use http::Method;

    fn read(path: &str, body: &str) -> Result<(String, Option<String>), String> {
        let method = if path == "/api/delete" { Method::DELETE } else { Method::POST };
        let classified = classify(&method, path, None, &[]).unwrap();
        let room = BodyBudget::of_this_machine().room();
        let ask = read_change(classified, body.to_owned().into(), room, &["hf.co".to_owned()]);
        let ask = ask.map_err(|fault| fault.to_string())?;
        assert_eq!(ask.body, body, "it goes on as it came");
        Ok((ask.model.unwrap().to_string(), ask.other_model.map(|name| name.to_string())))
    }

    #[test]
    fn the_models_that_it_is_about_are_read_under_all_their_names() {
        for (path, body, model, other) in [
            ("/api/pull", r#"{"model":"hf.co/org/tiny","insecure":false}"#, "hf.co/org/tiny", None),
            ("/api/pull", r#"{"name":"tiny","stream":false}"#, "tiny", None),
            ("/api/push", r#"{"model":"me/tiny"}"#, "me/tiny", None),
            ("/api/delete", r#"{"model":"evil.example/a/b"}"#, "evil.example/a/b", None),
            ("/api/copy", r#"{"source":"a","destination":"b"}"#, "a", Some("b")),
            ("/api/create", r#"{"model":"a","from":"b"}"#, "a", Some("b")),
            ("/api/create", r#"{"model":"a","files":{"x.gguf":"sha256:00"}}"#, "a", None),
        ] {
            assert_eq!(read(path, body), Ok((model.to_owned(), other.map(str::to_owned))), "{body}");
        }
    }

    #[test]
    fn an_engine_is_sent_to_no_foreign_host_file_or_insecure_registry() {
        for (path, body, said) in [
            ("/api/pull", r#"{"model":"evil.example/a/b"}"#, "registr"),
            ("/api/push", r#"{"model":"evil.example/a/b"}"#, "registr"),
            ("/api/create", r#"{"model":"a","from":"evil.example/a/b"}"#, "registr"),
            ("/api/pull", r#"{"model":"a","name":"evil.example/a/b"}"#, "name"),
            ("/api/pull", r#"{"model":"a","insecure":true}"#, "insecure"),
            ("/api/pull", r#"{"model":"a","insecure":1}"#, "insecure"),
            (
                "/api/create",
                r#"{"model":"a","from":"b","remote_host":"https://evil.example"}"#,
                "remote_host",
            ),
            ("/api/create", r#"{"model":"a","modelfile":"FROM /etc/passwd"}"#, "modelfile"),
            ("/api/create", r#"{"model":"a","path":"/etc/passwd"}"#, "path"),
            ("/api/pull", r#"{"model":"a","MODEL":"evil.example/a/b"}"#, "MODEL"),
            ("/api/create", r#"{"model":"a","From":"evil.example/a/b"}"#, "From"),
            ("/api/pull", r#"{"model":"a","model":"b"}"#, "model"),
            ("/api/pull", r#"{"model":7}"#, "model: must be a string"),
            ("/api/pull", "{}", "model is required"),
            ("/api/copy", r#"{"destination":"b"}"#, "model is required"),
            ("/api/pull", "[]", "object"),
        ] {
            let fault = read(path, body).unwrap_err();
            assert!(fault.contains(said), "{body}: {fault}");
        }
    }
}
