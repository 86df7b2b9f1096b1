//! What a gateway lets through: an exact table of paths, and a list of those that nobody can open.
//!
//! It is part of the contract because both planes check what an operator wants to add to it.

mod never;
mod pattern;
mod table;

pub use never::{NEVER, is_never, is_never_below};
pub use pattern::{InvalidPattern, MAX_PATH_BYTES, PathPattern};
pub use table::{KnownRoute, TABLE, Tail, find, is_taken, is_taken_below};

use crate::bundle::Permission;

/// The API whose shapes a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    Ollama,
    OpenAi,
    Anthropic,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// What is recorded of a request beside its line in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metering {
    None,
    /// That there was one. Limits on requests hold.
    Requests,
    /// Its tokens, as the engine states them.
    Usage,
}

impl Metering {
    /// Whether limits and usage events are about it.
    pub fn is_metered(self) -> bool {
        match self {
            Self::None => false,
            Self::Requests | Self::Usage => true,
        }
    }
}

/// What is asked of an engine. The names are those of OpenTelemetry's `gen_ai.operation.name` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Chat,
    Completion,
    Embedding,
    /// Documents in the order of their relevance for a query.
    Rerank,
    /// How alike texts are.
    Score,
    /// Text to tokens, or how many they are.
    Tokenize,
    Detokenize,
    /// The engine's list of models.
    Models,
    /// Details of one model.
    Show,
    /// Liveness, version, what is loaded.
    Status,
    Pull,
    Push,
    Create,
    Copy,
    Delete,
    /// A file of a model that is to be created.
    Blob,
    /// What the operator opened.
    Opened,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "text_completion",
            Self::Embedding => "embeddings",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
            Self::Models => "models",
            Self::Show => "show",
            Self::Status => "status",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Create => "create",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::Blob => "blob",
            Self::Opened => "opened",
        }
    }

    /// What a caller needs for it, on a route of the table. An opened one says itself; the strictest until it does.
    pub fn permission(self) -> Permission {
        match self {
            Self::Chat
            | Self::Completion
            | Self::Embedding
            | Self::Rerank
            | Self::Score
            | Self::Tokenize
            | Self::Detokenize => Permission::Inference,
            Self::Models | Self::Show | Self::Status => Permission::Read,
            Self::Pull
            | Self::Push
            | Self::Create
            | Self::Copy
            | Self::Delete
            | Self::Blob
            | Self::Opened => Permission::Admin,
        }
    }

    /// How much of it is recorded, on a route of the table. Splitting a text into tokens takes no turn at the model, so
    /// it is counted and not priced.
    pub fn metering(self) -> Metering {
        match self {
            Self::Chat | Self::Completion | Self::Embedding | Self::Rerank | Self::Score => Metering::Usage,
            Self::Tokenize | Self::Detokenize => Metering::Requests,
            Self::Models
            | Self::Show
            | Self::Status
            | Self::Pull
            | Self::Push
            | Self::Create
            | Self::Copy
            | Self::Delete
            | Self::Blob
            | Self::Opened => Metering::None,
        }
    }
}

/// Methods that an operator may open. HEAD goes with GET; CONNECT, OPTIONS and TRACE are the gateway's own matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl RouteMethod {
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Exact: methods are case-sensitive (RFC 9110 section 9.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether a request of this method is one.
    pub fn covers(self, method: &str) -> bool {
        method == self.name() || self == Self::Get && method == "HEAD"
    }
}
