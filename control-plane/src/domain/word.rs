//! Closed sets of values, each with one name: in the database, in the API, in the console's forms.

use super::key_scope::KeyScope;
use attach_proto::{
    bundle::{Counter, Durability, Measure, Permission, QuotaOutage},
    route::{Dialect, Metering},
};

pub trait Word: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    fn name(self) -> &'static str;

    /// Exact; `None` for what is no name of these.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.name() == name)
    }
}

macro_rules! words {
    ($($of:ident { $($value:ident = $name:literal),* $(,)? })*) => {
        $(impl Word for $of {
            const ALL: &'static [Self] = &[$(Self::$value),*];

            fn name(self) -> &'static str {
                match self { $(Self::$value => $name),* }
            }
        })*
    };
}

words! {
    Counter {
        Shared = "shared",
        EachPrincipal = "each_principal",
        EachModel = "each_model",
        EachPrincipalAndModel = "each_principal_and_model",
    }
    Measure {
        Requests = "requests",
        InputTokens = "input_tokens",
        OutputTokens = "output_tokens",
        TotalTokens = "total_tokens",
    }
    QuotaOutage { Deny = "deny", Allow = "allow" }
    Durability { Strict = "strict", Relaxed = "relaxed" }
    Metering { None = "none", Requests = "requests", Usage = "usage" }
    Dialect { Ollama = "ollama", OpenAi = "openai", Anthropic = "anthropic" }
    KeyScope { Inference = "inference", Read = "read", Admin = "admin", ActAs = "act_as" }
    Permission { Inference = "inference", Read = "read", Admin = "admin" }
}
