//! The table: each path that a caller may use, and what it means.

use super::{
    Dialect, Operation,
    never::is_never,
    pattern::{below, is_plain},
};

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRoute {
    pub path: &'static str,
    /// The same at the engine, which knows one name for it.
    pub engine_path: &'static str,
    /// As `Allow` has them (RFC 9110 section 10.2.1).
    pub methods: &'static str,
    pub operation: Operation,
    pub dialect: Dialect,
    /// Whether the answer streams when the body does not say.
    pub streams_by_default: bool,
    pub tail: Tail,
}

/// What comes after the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    None,
    /// A model's name, of plain segments.
    Model,
    /// `sha256:` and 64 hexadecimal digits in lower case, as Ollama's own client writes it.
    Digest,
}

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

const fn line(
    path: &'static str,
    engine_path: &'static str,
    methods: &'static str,
    operation: Operation,
    dialect: Dialect,
) -> KnownRoute {
    KnownRoute { path, engine_path, methods, operation, dialect, streams_by_default: false, tail: Tail::None }
}

const fn ollama(path: &'static str, methods: &'static str, operation: Operation) -> KnownRoute {
    line(path, path, methods, operation, Dialect::Ollama)
}

/// With and without the version: OpenAI's SDKs take a base address with it or without.
const fn openai(
    path: &'static str,
    engine_path: &'static str,
    methods: &'static str,
    operation: Operation,
) -> KnownRoute {
    line(path, engine_path, methods, operation, Dialect::OpenAi)
}

const fn anthropic(path: &'static str, operation: Operation) -> KnownRoute {
    line(path, path, POST, operation, Dialect::Anthropic)
}

impl KnownRoute {
    const fn streaming(self) -> Self {
        Self { streams_by_default: true, ..self }
    }

    const fn with(self, tail: Tail) -> Self {
        Self { tail, ..self }
    }
}

use Operation::{
    Blob, Chat, Completion, Copy as CopyModel, Create, Delete, Detokenize, Embedding, Models, Pull, Push,
    Rerank, Score, Show, Status, Tokenize,
};

/// What is asked most comes first: the table is read from its beginning.
pub const TABLE: &[KnownRoute] = &[
    openai("/v1/chat/completions", "/v1/chat/completions", POST, Chat),
    ollama("/api/chat", POST, Chat).streaming(),
    ollama("/api/generate", POST, Completion).streaming(),
    anthropic("/v1/messages", Chat),
    openai("/v1/completions", "/v1/completions", POST, Completion),
    openai("/v1/embeddings", "/v1/embeddings", POST, Embedding),
    ollama("/api/embed", POST, Embedding),
    ollama("/api/embeddings", POST, Embedding),
    openai("/chat/completions", "/v1/chat/completions", POST, Chat),
    openai("/completions", "/v1/completions", POST, Completion),
    openai("/embeddings", "/v1/embeddings", POST, Embedding),
    openai("/v1/models", "/v1/models", GET, Models),
    openai("/models", "/v1/models", GET, Models),
    ollama("/", GET, Status),
    ollama("/api/tags", GET, Models),
    ollama("/api/show", POST, Show),
    ollama("/api/ps", GET, Status),
    ollama("/api/version", GET, Status),
    // vLLM and llama.cpp.
    openai("/v1/rerank", "/v1/rerank", POST, Rerank),
    openai("/rerank", "/v1/rerank", POST, Rerank),
    openai("/v2/rerank", "/v2/rerank", POST, Rerank),
    openai("/v1/score", "/v1/score", POST, Score),
    openai("/score", "/v1/score", POST, Score),
    openai("/tokenize", "/tokenize", POST, Tokenize),
    openai("/detokenize", "/detokenize", POST, Detokenize),
    anthropic("/v1/messages/count_tokens", Tokenize),
    // Ollama's models.
    ollama("/api/pull", POST, Pull).streaming(),
    ollama("/api/push", POST, Push).streaming(),
    ollama("/api/create", POST, Create).streaming(),
    ollama("/api/copy", POST, CopyModel),
    ollama("/api/delete", "DELETE", Delete),
    ollama("/api/blobs/", "HEAD, POST", Blob).with(Tail::Digest),
    openai("/v1/models/", "/v1/models/", GET, Show).with(Tail::Model),
    openai("/models/", "/v1/models/", GET, Show).with(Tail::Model),
];

/// What the gateway answers itself.
const OWN: &[&str] = &["/health", "/auth/config", "/metrics"];

/// The line of a path, and what comes after it. Exact: a path with `%`, `//` or `..` is not in the table, so no two
/// readings of it can differ.
pub fn find(path: &str) -> Option<(&'static KnownRoute, &str)> {
    for route in TABLE {
        match route.tail {
            Tail::None if route.path == path => return Some((route, "")),
            Tail::None => {}
            Tail::Model | Tail::Digest => {
                if let Some(tail) = path.strip_prefix(route.path) {
                    return (route.tail.is(tail) && !is_never(path)).then_some((route, tail));
                }
            }
        }
    }
    None
}

/// Whether the gateway has a meaning for a path, or for what is below it.
pub fn is_taken(path: &str) -> bool {
    let in_table = |route: &KnownRoute| match route.tail {
        Tail::None => route.path == path,
        Tail::Model | Tail::Digest => path.starts_with(route.path),
    };
    TABLE.iter().any(in_table) || OWN.contains(&path)
}

/// Whether the gateway has a meaning for something below a path.
pub fn is_taken_below(path: &str) -> bool {
    let taken = TABLE.iter().map(|route| route.path).chain(OWN.iter().copied());
    is_taken(&format!("{path}/x")) || taken.into_iter().any(|taken| below(taken, path).is_some())
}

impl Tail {
    fn is(self, text: &str) -> bool {
        match self {
            Self::None => text.is_empty(),
            Self::Model => is_plain(text),
            Self::Digest => text.strip_prefix("sha256:").is_some_and(|hex| {
                hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            }),
        }
    }
}
