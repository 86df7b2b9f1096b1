//! Keys of issuers that this control plane asks for itself.

use jiff::Timestamp;
use std::time::Duration;

/// Where keys come from. Providers of different tenants that name the same source share its keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// As the providers have it.
    pub issuer: String,
    /// Empty when the issuer's metadata says where.
    pub jwks_url: String,
}

/// A good answer of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What tokens must have as `iss`.
    pub effective_issuer: String,
    pub jwks_uri: String,
    /// The usable ones, in a form that is equal for equal keys.
    pub jwks: String,
    pub keys: usize,
    pub skipped_keys: usize,
}

/// When an issuer that has answered is asked again.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// As a matter of routine.
    pub refresh: Duration,
    /// So much sooner than else at a gateway's wish, when its keys changed: it may sign with one more at any moment.
    pub sooner_after_change: Duration,
}

/// How it stands with the keys of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyState {
    /// Those that gateways are given; none before the first answer, and after a day without one.
    pub keys: u32,
    /// Keys of its set that are not used.
    pub skipped_keys: u32,
    /// When the issuer last answered well.
    pub fetched_at: Option<Timestamp>,
    /// The keys should have been renewed by now.
    pub is_stale: bool,
    /// Why the last attempt failed.
    pub problem: Option<String>,
}

impl Source {
    /// The issuer as people and its metadata may write it: with a final slash and without.
    pub fn forms(&self) -> Vec<String> {
        let bare = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        vec![bare.to_owned(), format!("{bare}/")]
    }
}
