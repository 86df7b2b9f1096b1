//! Which limits hold for a request, and which counter of each is its own.

use super::store::Applied;
use crate::{
    authorize::{Grant, matches_any},
    identify::Principal,
};
use attach_proto::{
    bundle::{Counter, Limit},
    id::ModelName,
};

/// The limits that hold for this request, each with the key of its counter.
pub(super) fn applied(grant: &Grant) -> Vec<Applied> {
    if !grant.ask().route().metering.is_metered() {
        return Vec::new();
    }
    let holds = |limit: &&Limit| {
        let scope = &limit.scope;
        let covers_model = scope.models.is_empty()
            || grant.model().is_some_and(|model| {
                let is_it = |name: &ModelName| name.canonical() == model.canonical.as_str();
                scope.models.iter().any(is_it)
            });
        covers_model && is_about(limit, grant.principal())
    };
    let limits = grant.snapshot().limits(&grant.principal().tenant).filter(holds);
    limits
        .map(|limit| Applied {
            limit: limit.id.clone(),
            counter_key: counter_key(limit, grant),
            measure: limit.measure,
            window: limit.window,
            amount: limit.amount,
        })
        .collect()
}

/// Whether it can hold for what this caller asks, of one model or another.
pub(crate) fn is_about(limit: &Limit, principal: &Principal) -> bool {
    let scope = &limit.scope;
    let is_of_key =
        scope.keys.is_empty() || principal.key.as_ref().is_some_and(|key| scope.keys.contains(key));
    is_of_key && matches_any(&scope.principals, &scope.groups, principal)
}

/// Unique within the tenant. The parts are divided by a character that none of them can contain: ids and model names
/// have no control characters, and a subject comes last.
fn counter_key(limit: &Limit, grant: &Grant) -> String {
    const DIVIDER: char = '\u{1f}';
    let mut key = limit.id.to_string();
    let mut push = |part: &str| {
        key.push(DIVIDER);
        key.push_str(part);
    };
    if matches!(limit.counter, Counter::EachModel | Counter::EachPrincipalAndModel) {
        push(grant.model().map_or("", |model| model.canonical.as_str()));
    }
    if matches!(limit.counter, Counter::EachPrincipal | Counter::EachPrincipalAndModel) {
        let principal = grant.principal();
        push(principal.kind.name());
        push(principal.provider.as_ref().map_or("", |provider| provider.as_str()));
        // Two applications may name their users alike.
        push(principal.delegated_by.as_ref().map_or("", |key| key.as_str()));
        push(&principal.subject);
    }
    key
}
