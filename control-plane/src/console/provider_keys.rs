//! How it stands with an identity provider's keys, as the tenant's page tells it.

use super::page::time;
use crate::domain::issuer_keys::KeyState;
use attach_proto::v1;

/// Where a provider's keys come from, and how it stands with those that come from here.
pub(super) struct ProviderKeys {
    /// Of a state that somebody should look at.
    pub(super) tag: Option<(&'static str, &'static str)>,
    pub(super) text: String,
    pub(super) problem: String,
}

impl ProviderKeys {
    pub(super) fn new(provider: &v1::IdentityProvider, state: Option<KeyState>) -> Self {
        let Some(state) = state else {
            let text =
                if provider.jwks.is_empty() { "fetched by the gateways" } else { "given with the provider" };
            return Self { tag: None, text: text.to_owned(), problem: String::new() };
        };
        let tag = match (state.keys, state.fetched_at, state.is_stale || state.problem.is_some()) {
            (0, None, _) if state.problem.is_none() => ("warn", "not fetched yet"),
            (0, _, _) => ("bad", "no keys"),
            (_, _, true) => ("warn", "old keys"),
            (_, _, false) => ("good", "good"),
        };
        let skipped = match state.skipped_keys {
            0 => String::new(),
            skipped => format!(", {skipped} not usable"),
        };
        let fetched = state.fetched_at.map(|at| format!(", fetched here {}", time(at))).unwrap_or_default();
        let text = format!("{}{skipped}{fetched}", state.keys);
        Self { tag: Some(tag), text, problem: state.problem.unwrap_or_default() }
    }
}
