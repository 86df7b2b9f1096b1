//! Identifiers. Each is parsed once, at the edge, and cannot be wrong after that.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Longest identifier. Ids stand in Redis keys, metric labels and log lines, where 128 bytes is already a lot.
pub const MAX_ID_BYTES: usize = 128;

/// Longest model name: registry, namespace, name and tag of an engine, with room to spare.
pub const MAX_MODEL_NAME_BYTES: usize = 256;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("must not be empty")]
    Empty,
    #[error("is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("contains {found:?}; allowed are {allowed}")]
    Character { found: char, allowed: &'static str },
}

fn check(
    text: &str,
    max: usize,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > max {
        return Err(InvalidId::TooLong { max });
    }
    match text.chars().find(|&c| !is_allowed(c)) {
        Some(found) => Err(InvalidId::Character { found, allowed }),
        None => Ok(()),
    }
}

/// Braces are left out because a tenant's id is a Redis hash tag; slashes, because ids stand in paths.
fn is_id_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '@')
}

fn is_model_character(c: char) -> bool {
    !c.is_control() && !c.is_whitespace()
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:literal, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text, $max, $allowed, $is_allowed)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! plain_identifiers {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $(identifier! {
            $(#[$doc])*
            $name, MAX_ID_BYTES, "letters, digits and . _ - : @", is_id_character
        })*
    };
}

plain_identifiers! {
    /// A customer organisation.
    TenantId,
    /// The authority for a tenant's limits.
    QuotaStoreId,
    /// An issuer, as one tenant uses it.
    IdentityProviderId,
    /// An API key; not the key itself.
    KeyId,
    LimitId,
    AccessRuleId,
    UpstreamId,
    /// One gateway process.
    AgentId,
    PoolId,
}

identifier! {
    /// A model's name, as a caller or an engine writes it.
    ModelName, MAX_MODEL_NAME_BYTES, "all but white space and control characters", is_model_character
}

impl ModelName {
    /// One name for the many that an engine takes for the same model: `tiny`, `TINY:latest` and
    /// `registry.ollama.ai/library/tiny:latest` all run `tiny` on Ollama. Limits and permissions go by this name.
    ///
    /// Names of other engines are folded the same way: at worst two models that differ only in case share a limit.
    pub fn canonical(&self) -> String {
        let lower = self.0.to_lowercase();
        // Ollama passes over any scheme.
        let name = lower.split_once("://").map_or(lower.as_str(), |(_, name)| name);
        let name = name.strip_prefix("registry.ollama.ai/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        name.strip_suffix(":latest").unwrap_or(name).to_owned()
    }
}

/// Numbers the changes of a pool's bundle; a reader follows them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_out_of_a_key_or_a_path_is_refused() {
        for bad in ["", "a b", "a/b", "{a}", "a\n", "ä"] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(129).parse::<TenantId>().is_err());
        assert_eq!("acme-1.prod".parse::<TenantId>().unwrap().as_str(), "acme-1.prod");
    }

    #[test]
    fn a_model_name_may_have_a_registry_and_a_tag_but_no_white_space() {
        assert!("registry.ollama.ai/library/llama3:8b".parse::<ModelName>().is_ok());
        assert!("llama 3".parse::<ModelName>().is_err());
        assert!("llama\u{0}".parse::<ModelName>().is_err());
    }
}
