//! Closed sets of words in bodies, each to and from the domain's and the contract's.

use attach_proto::{bundle, v1};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of_value:meta])* $value:ident),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
            #[serde(rename_all = "snake_case")]
            pub(crate) enum $name {
                $($(#[$of_value])* $value),*
            }

            impl From<bundle::$name> for $name {
                fn from(word: bundle::$name) -> Self {
                    match word { $(bundle::$name::$value => Self::$value),* }
                }
            }

            impl From<$name> for bundle::$name {
                fn from(word: $name) -> Self {
                    match word { $($name::$value => Self::$value),* }
                }
            }

            impl From<$name> for v1::$name {
                fn from(word: $name) -> Self {
                    match word { $($name::$value => Self::$value),* }
                }
            }
        )*
    };
}

words! {
    /// What holds for requests while the tenant's quota store does not answer.
    QuotaOutage {
        /// They are refused.
        Deny,
        /// They are served and recorded.
        Allow,
    }
    /// Whether an answer may end before its usage is durable.
    Durability {
        /// It may not.
        Strict,
        /// After a second it may, and the gap is counted.
        Relaxed,
    }
    /// Who shares one count.
    Counter { Shared, EachPrincipal, EachModel, EachPrincipalAndModel }
    /// What is counted.
    Measure { Requests, InputTokens, OutputTokens, TotalTokens }
    /// What a rule allows.
    Permission {
        /// Asking a model.
        Inference,
        /// Lists of models and the like.
        Read,
        /// To change what an engine has: pull, create, copy and delete models. Only by a rule that says so.
        Admin,
    }
}
