//! The exact table of routes. What is not in it is refused before anything is read.

use attach_proto::bundle::Permission;
use http::Method;

/// The API whose shapes the caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    Ollama,
    OpenAi,
    Anthropic,
}

impl Dialect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// What is asked of the engine. The names are those of OpenTelemetry's `gen_ai.operation.name` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Chat,
    Completion,
    Embedding,
    /// The engine's list of models.
    Models,
    /// Details of one model.
    Show,
    /// Liveness, version, what is loaded.
    Status,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "text_completion",
            Self::Embedding => "embeddings",
            Self::Models => "models",
            Self::Show => "show",
            Self::Status => "status",
        }
    }

    pub(crate) fn permission(self) -> Permission {
        match self {
            Self::Chat | Self::Completion | Self::Embedding => Permission::Inference,
            Self::Models | Self::Show | Self::Status => Permission::Read,
        }
    }

    /// Whether it consumes the engine's time, so that limits and usage events are about it.
    pub(crate) fn is_metered(self) -> bool {
        self.permission() == Permission::Inference
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) dialect: Dialect,
    /// Path at the engine.
    pub(crate) engine_path: &'static str,
    /// Whether the answer streams when the body does not say.
    pub(crate) streams_by_default: bool,
}

/// A request whose route is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Classified {
    pub(crate) route: Route,
    pub(crate) method: Method,
    /// The query as it came, without the question mark.
    pub(crate) query: Option<String>,
    /// The model, for the routes that have it in the path.
    pub(crate) model_in_path: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteFault {
    Unknown,
    /// Known path, other method; the value of `Allow`.
    Method(&'static str),
}

const fn ollama(operation: Operation, engine_path: &'static str, streams_by_default: bool) -> Route {
    Route { operation, dialect: Dialect::Ollama, engine_path, streams_by_default }
}

const fn openai(operation: Operation, engine_path: &'static str) -> Route {
    Route { operation, dialect: Dialect::OpenAi, engine_path, streams_by_default: false }
}

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

/// The dialect of a path, also of an unknown one: it decides the shape of the refusal.
pub(crate) fn dialect_of(path: &str) -> Dialect {
    match path {
        "/v1/messages" => Dialect::Anthropic,
        path if path == "/" || path.starts_with("/api/") => Dialect::Ollama,
        _ => Dialect::OpenAi,
    }
}

fn look_up(path: &str) -> Option<(Route, &'static str)> {
    use Operation::{Chat, Completion, Embedding, Models, Show, Status};
    Some(match path {
        "/" => (ollama(Status, "/", false), GET),
        "/api/chat" => (ollama(Chat, "/api/chat", true), POST),
        "/api/generate" => (ollama(Completion, "/api/generate", true), POST),
        "/api/embed" => (ollama(Embedding, "/api/embed", false), POST),
        "/api/embeddings" => (ollama(Embedding, "/api/embeddings", false), POST),
        "/api/tags" => (ollama(Models, "/api/tags", false), GET),
        "/api/show" => (ollama(Show, "/api/show", false), POST),
        "/api/ps" => (ollama(Status, "/api/ps", false), GET),
        "/api/version" => (ollama(Status, "/api/version", false), GET),
        "/v1/chat/completions" | "/chat/completions" => (openai(Chat, "/v1/chat/completions"), POST),
        "/v1/completions" | "/completions" => (openai(Completion, "/v1/completions"), POST),
        "/v1/embeddings" | "/embeddings" => (openai(Embedding, "/v1/embeddings"), POST),
        "/v1/models" | "/models" => (openai(Models, "/v1/models"), GET),
        "/v1/messages" => {
            let route = Route {
                operation: Chat,
                dialect: Dialect::Anthropic,
                engine_path: "/v1/messages",
                streams_by_default: false,
            };
            (route, POST)
        }
        _ => return None,
    })
}

/// The model in `/v1/models/{model}`, when it is one that may be put into a path again as it is.
fn model_in_path(path: &str) -> Option<&str> {
    let model = path.strip_prefix("/v1/models/").or_else(|| path.strip_prefix("/models/"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/' | '@');
    let is_plain = !model.is_empty()
        && model.chars().all(plain)
        && model.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..");
    is_plain.then_some(model)
}

/// Exact: a path with `%`, `//` or `..` is not in the table, so no two readings of it can differ.
pub(crate) fn classify(method: &Method, path: &str, query: Option<&str>) -> Result<Classified, RouteFault> {
    let model = model_in_path(path);
    let (route, allowed) = match model {
        Some(_) => (openai(Operation::Show, "/v1/models/"), GET),
        None => look_up(path).ok_or(RouteFault::Unknown)?,
    };
    if !allowed.split(", ").any(|name| name == method.as_str()) {
        return Err(RouteFault::Method(allowed));
    }
    Ok(Classified {
        route,
        method: method.clone(),
        query: query.map(str::to_owned),
        model_in_path: model.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_be_read_in_two_ways_is_not_a_route() {
        for path in [
            "/api/%67enerate",
            "/api/generate/",
            "//api/generate",
            "/api/./generate",
            "/v1/../api/chat",
            "/API/chat",
            "/api/pull",
            "/api/delete",
            "/v1/models/../chat",
            "/v1/models/a//b",
            "/v1/models/a%2e",
            "/v1/models/",
            "/metrics/x",
        ] {
            assert_eq!(classify(&Method::POST, path, None), Err(RouteFault::Unknown), "{path}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_names_the_allowed_ones() {
        assert_eq!(classify(&Method::GET, "/api/chat", None), Err(RouteFault::Method("POST")));
        assert_eq!(classify(&Method::POST, "/api/tags", None), Err(RouteFault::Method("GET, HEAD")));
        assert_eq!(classify(&Method::DELETE, "/v1/models/tiny", None), Err(RouteFault::Method("GET, HEAD")));
    }

    #[test]
    fn openai_routes_work_with_and_without_the_version() {
        for path in ["/chat/completions", "/completions", "/embeddings"] {
            let short = classify(&Method::POST, path, Some("a=b")).unwrap();
            let long = classify(&Method::POST, &format!("/v1{path}"), Some("a=b")).unwrap();
            assert_eq!(short, long);
        }
        let one = classify(&Method::GET, "/models/hf.co/org/name:Q4", None).unwrap();
        assert_eq!(one.model_in_path.as_deref(), Some("hf.co/org/name:Q4"));
    }
}
