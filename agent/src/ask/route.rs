//! Which route it is. What is in no table is refused before anything is read.

use attach_proto::{
    bundle::{AllowedRoute, Permission},
    route::{self, Dialect, KnownRoute, Metering, Operation, RouteMethod, Tail},
};
use http::{HeaderMap, HeaderName, Method};
use std::{borrow::Cow, sync::Arc};

/// A caller's word on which engine is meant, where its model does not say.
const X_ATTACH_UPSTREAM: HeaderName = HeaderName::from_static("x-attach-upstream");

/// What a route means for the stages after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) dialect: Dialect,
    pub(crate) permission: Permission,
    pub(crate) metering: Metering,
    /// Whether the answer streams when the body does not say.
    pub(crate) streams_by_default: bool,
}

/// A request whose route is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classified {
    pub(crate) route: Route,
    pub(crate) method: Method,
    /// At the engine, up to the model's name where that stands in it.
    pub(crate) path: Cow<'static, str>,
    /// The query as it came, without the question mark.
    pub(crate) query: Option<String>,
    /// The model, for the routes that have it in the path.
    pub(crate) model_in_path: Option<String>,
    /// What the operator said of it, for a route that is not in the table.
    pub(crate) opened: Option<Arc<AllowedRoute>>,
    /// The engine that the caller names, for what no model leads to one.
    pub(crate) upstream: Option<String>,
}

/// What is to be done with a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyUse {
    /// Whatever comes is left behind.
    Ignored,
    /// JSON that asks a model.
    Asks,
    /// JSON that changes an engine.
    Changes,
    /// Kept, and passed on as it is.
    PassesWhole,
    /// Too large to keep: passed on as it comes.
    Streams,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteFault {
    Unknown,
    /// Known path, other method; the value of `Allow`.
    Method(Cow<'static, str>),
}

impl Route {
    fn known(known: &KnownRoute) -> Self {
        let KnownRoute { operation, dialect, streams_by_default, .. } = *known;
        let (permission, metering) = (operation.permission(), operation.metering());
        Self { operation, dialect, permission, metering, streams_by_default }
    }

    fn opened(allowed: &AllowedRoute) -> Self {
        let AllowedRoute { permission, metering, dialect, .. } = *allowed;
        Self { operation: Operation::Opened, dialect, permission, metering, streams_by_default: false }
    }

    /// Whether it asks a model that leads to an engine. What changes an engine names models that it need not have.
    pub(crate) fn asks_a_model(&self) -> bool {
        match self.operation {
            Operation::Opened => self.metering == Metering::Usage,
            Operation::Chat
            | Operation::Completion
            | Operation::Embedding
            | Operation::Rerank
            | Operation::Score
            | Operation::Tokenize
            | Operation::Detokenize
            | Operation::Models
            | Operation::Show
            | Operation::Status => true,
            Operation::Pull
            | Operation::Push
            | Operation::Create
            | Operation::Copy
            | Operation::Delete
            | Operation::Blob => false,
        }
    }
}

impl Classified {
    pub(crate) fn body_use(&self) -> BodyUse {
        match (self.route.operation, &self.method) {
            (_, &Method::GET | &Method::HEAD) => BodyUse::Ignored,
            (Operation::Opened, _) if self.route.metering != Metering::Usage => BodyUse::PassesWhole,
            (Operation::Blob, _) => BodyUse::Streams,
            _ if self.route.asks_a_model() => BodyUse::Asks,
            _ => BodyUse::Changes,
        }
    }

    /// The operation's name, or the path that the operator opened.
    pub(crate) fn operation_name(&self) -> Cow<'static, str> {
        match &self.opened {
            Some(allowed) => allowed.path.as_str().to_owned().into(),
            None => self.route.operation.name().into(),
        }
    }

    /// Takes the caller's word on the engine where there is no other.
    pub(crate) fn with_named_upstream(mut self, headers: &HeaderMap) -> Self {
        if !self.route.asks_a_model() {
            let named = headers.get(X_ATTACH_UPSTREAM);
            self.upstream = named.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
        self
    }
}

/// The dialect of a path, also of an unknown one: it decides the shape of the refusal.
pub(crate) fn dialect_of(path: &str) -> Dialect {
    match path {
        "/v1/messages" | "/v1/messages/count_tokens" => Dialect::Anthropic,
        path if path == "/" || path.starts_with("/api/") => Dialect::Ollama,
        _ => Dialect::OpenAi,
    }
}

pub(crate) fn classify(
    method: &Method,
    path: &str,
    query: Option<&str>,
    allowed: &[Arc<AllowedRoute>],
) -> Result<Classified, RouteFault> {
    let Some((known, tail)) = route::find(path) else {
        return opened(method, path, query, allowed);
    };
    if !known.methods.split(", ").any(|name| name == method.as_str()) {
        return Err(RouteFault::Method(known.methods.into()));
    }
    Ok(Classified {
        route: Route::known(known),
        method: method.clone(),
        path: match known.tail {
            Tail::None | Tail::Model => known.engine_path.into(),
            Tail::Digest => [known.engine_path, tail].concat().into(),
        },
        query: query.map(str::to_owned),
        model_in_path: (known.tail == Tail::Model).then(|| tail.to_owned()),
        opened: None,
        upstream: None,
    })
}

/// What the operator opened. Bundles that open a control route are refused; this is the second lock.
fn opened(
    method: &Method,
    path: &str,
    query: Option<&str>,
    allowed: &[Arc<AllowedRoute>],
) -> Result<Classified, RouteFault> {
    let of_path = || allowed.iter().filter(|allowed| allowed.path.covers(path));
    if of_path().next().is_none() || route::is_never(path) {
        return Err(RouteFault::Unknown);
    }
    let takes = |allowed: &&Arc<AllowedRoute>| allowed.methods.iter().any(|it| it.covers(method.as_str()));
    let Some(allowed) = of_path().find(takes) else {
        let methods = of_path().flat_map(|allowed| &allowed.methods).map(|method| match method {
            RouteMethod::Get => "GET, HEAD",
            RouteMethod::Post | RouteMethod::Put | RouteMethod::Patch | RouteMethod::Delete => method.name(),
        });
        return Err(RouteFault::Method(methods.collect::<Vec<_>>().join(", ").into()));
    };
    Ok(Classified {
        route: Route::opened(allowed),
        method: method.clone(),
        path: path.to_owned().into(),
        query: query.map(str::to_owned),
        model_in_path: None,
        opened: Some(Arc::clone(allowed)),
        upstream: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::{bundle::Routes, v1};

    fn allowed(path: &str, methods: &[&str]) -> Vec<Arc<AllowedRoute>> {
        let route = v1::AllowedRoute {
            path: path.to_owned(),
            methods: methods.iter().map(ToString::to_string).collect(),
            permission: v1::Permission::Read.into(),
            metering: v1::Metering::Requests.into(),
            dialect: v1::Dialect::Anthropic.into(),
            ..Default::default()
        };
        let routes = v1::Routes { allow: vec![route], registries: Vec::new() };
        Routes::try_from(routes).unwrap().allow.into_iter().map(Arc::new).collect()
    }

    fn classified(method: &Method, path: &str) -> Result<Classified, RouteFault> {
        classify(method, path, None, &[])
    }

    #[test]
    fn each_route_of_the_table_has_the_permission_and_the_metering_of_its_class() {
        let digest = format!("/api/blobs/sha256:{}", "0a".repeat(32));
        let mut told = Vec::new();
        for known in route::TABLE {
            let path = match known.tail {
                Tail::None => known.path.to_owned(),
                Tail::Model => format!("{}tiny", known.path),
                Tail::Digest => digest.clone(),
            };
            let method = known.methods.split(", ").last().unwrap();
            let it = classified(&method.parse().unwrap(), &path).unwrap();
            let use_ = format!("{:?}", it.body_use());
            let (permission, metering) = (it.route.permission, it.route.metering);
            told.push(format!("{method} {} {permission:?} {metering:?} {use_}", known.path));
        }
        told.sort();
        assert_eq!(
            told.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                "DELETE /api/delete Admin None Changes",
                "HEAD / Read None Ignored",
                "HEAD /api/ps Read None Ignored",
                "HEAD /api/tags Read None Ignored",
                "HEAD /api/version Read None Ignored",
                "HEAD /models Read None Ignored",
                "HEAD /models/ Read None Ignored",
                "HEAD /v1/models Read None Ignored",
                "HEAD /v1/models/ Read None Ignored",
                "POST /api/blobs/ Admin None Streams",
                "POST /api/chat Inference Usage Asks",
                "POST /api/copy Admin None Changes",
                "POST /api/create Admin None Changes",
                "POST /api/embed Inference Usage Asks",
                "POST /api/embeddings Inference Usage Asks",
                "POST /api/generate Inference Usage Asks",
                "POST /api/pull Admin None Changes",
                "POST /api/push Admin None Changes",
                "POST /api/show Read None Asks",
                "POST /chat/completions Inference Usage Asks",
                "POST /completions Inference Usage Asks",
                "POST /detokenize Inference Requests Asks",
                "POST /embeddings Inference Usage Asks",
                "POST /rerank Inference Usage Asks",
                "POST /score Inference Usage Asks",
                "POST /tokenize Inference Requests Asks",
                "POST /v1/chat/completions Inference Usage Asks",
                "POST /v1/completions Inference Usage Asks",
                "POST /v1/embeddings Inference Usage Asks",
                "POST /v1/messages Inference Usage Asks",
                "POST /v1/messages/count_tokens Inference Requests Asks",
                "POST /v1/rerank Inference Usage Asks",
                "POST /v1/score Inference Usage Asks",
                "POST /v2/rerank Inference Usage Asks",
            ]
        );
    }

    #[test]
    fn a_path_that_could_be_read_in_two_ways_is_not_a_route() {
        for path in [
            "/api/%67enerate",
            "/api/generate/",
            "//api/generate",
            "/api/./generate",
            "/v1/../api/chat",
            "/API/chat",
            "/v1/models/../chat",
            "/v1/models/a//b",
            "/v1/models/a%2e",
            "/v1/models/",
            "/v1/models/load",
            "/models/unload",
            "/metrics/x",
            "/pause",
            "/api/blobs/",
            "/api/blobs/sha256:00",
            "/api/blobs/../pull",
        ] {
            assert_eq!(classified(&Method::POST, path), Err(RouteFault::Unknown), "{path}");
        }
        let [upper, dash, short] = ["sha256:0A", "sha256-0a", "sha256:0"].map(|start| {
            let rest = "a".repeat(62);
            format!("/api/blobs/{start}{rest}")
        });
        for path in [upper, dash, short] {
            assert_eq!(classified(&Method::POST, &path), Err(RouteFault::Unknown), "{path}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_names_the_allowed_ones() {
        for (method, path, allow) in [
            (Method::GET, "/api/chat", "POST"),
            (Method::POST, "/api/tags", "GET, HEAD"),
            (Method::DELETE, "/v1/models/tiny", "GET, HEAD"),
            (Method::POST, "/api/delete", "DELETE"),
        ] {
            assert_eq!(classified(&method, path), Err(RouteFault::Method(allow.into())), "{path}");
        }
        let opened = allowed("/v1/x", &["GET", "PUT"]);
        let refused = classify(&Method::POST, "/v1/x", None, &opened);
        assert_eq!(refused, Err(RouteFault::Method("GET, HEAD, PUT".into())));
    }

    #[test]
    fn openai_routes_work_with_and_without_the_version() {
        for path in ["/chat/completions", "/completions", "/embeddings"] {
            let short = classify(&Method::POST, path, Some("a=b"), &[]).unwrap();
            let long = classify(&Method::POST, &format!("/v1{path}"), Some("a=b"), &[]).unwrap();
            assert_eq!(short, long);
        }
        let one = classified(&Method::GET, "/models/hf.co/org/name:Q4").unwrap();
        assert_eq!(one.model_in_path.as_deref(), Some("hf.co/org/name:Q4"));
    }

    #[test]
    fn what_an_operator_opened_goes_to_the_same_path_with_the_class_that_was_given() {
        let opened = allowed("/v1/audio/*", &["GET", "POST"]);
        let it = classify(&Method::HEAD, "/v1/audio/voices", Some("a=b"), &opened).unwrap();
        assert_eq!((&*it.path, it.query.as_deref()), ("/v1/audio/voices", Some("a=b")));
        assert_eq!((it.route.permission, it.route.metering), (Permission::Read, Metering::Requests));
        assert_eq!(it.operation_name(), "/v1/audio/*");
        assert_eq!(it.route.dialect, Dialect::Anthropic);
        for path in ["/v1/audio", "/v1/audio/", "/v1/audio/../images", "/v1/audio/%2e%2e/x", "/v1/audio//x"] {
            assert_eq!(classify(&Method::POST, path, None, &opened), Err(RouteFault::Unknown), "{path}");
        }
    }
}
