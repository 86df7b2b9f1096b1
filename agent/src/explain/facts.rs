//! What a credential proves of its holder, and what that caller may do.

use crate::{
    admit::is_about,
    authorize::{Reach, reach, visible_models},
    identify::{KeyBounds, Principal},
    snapshot::Snapshot,
};
use attach_proto::{
    bundle::{Counter, Limit, Measure, Permission},
    v1::Fact,
};
use jiff::Timestamp;

/// Of groups, models and limits each: more than that nobody reads.
const MAX_VALUES: usize = 50;

/// Longest text of one value that is passed on: claims may be as long as their token.
const MAX_CHARACTERS: usize = 256;

pub(super) fn facts(caller: &Principal, until: Option<Timestamp>, snapshot: &Snapshot) -> Vec<Fact> {
    let one = |text: &Option<String>| text.clone().into_iter().collect();
    let mut facts = vec![
        fact("tenant", vec![caller.tenant.to_string()]),
        fact("kind", vec![caller.kind.name().to_owned()]),
        fact("subject", vec![caller.subject.clone()]),
        fact("until", vec![until.map_or_else(|| "for ever".to_owned(), |until| until.to_string())]),
        fact("issuer", one(&caller.issuer)),
        fact("identity provider", caller.provider.iter().map(ToString::to_string).collect()),
        fact("key", caller.key.iter().map(ToString::to_string).collect()),
        fact("groups", caller.groups.clone()),
        fact("roles", caller.roles.clone()),
        fact("scopes", caller.scopes.clone()),
        fact("e-mail", one(&caller.email)),
        fact("organisation", one(&caller.organisation)),
        fact("project", one(&caller.project)),
        fact("cost centre", one(&caller.cost_centre)),
        fact("may", permissions(caller, snapshot)),
        fact("models", models(caller, snapshot)),
        fact("limits", limits(caller, snapshot)),
    ];
    facts.retain(|fact| !fact.values.is_empty());
    facts
}

fn fact(name: &str, values: Vec<String>) -> Fact {
    let all = values.len();
    let mut values: Vec<_> = values.into_iter().take(MAX_VALUES).map(bounded).collect();
    if all > MAX_VALUES {
        values.push(format!("and {} more", all - MAX_VALUES));
    }
    Fact { name: name.to_owned(), values }
}

fn bounded(text: String) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn permissions(caller: &Principal, snapshot: &Snapshot) -> Vec<String> {
    let may =
        [Permission::Inference, Permission::Read, Permission::Admin].into_iter().filter_map(|permission| {
            match reach(caller, permission, snapshot) {
                Reach::ForAllModels => Some(permission.name().to_owned()),
                Reach::ForSomeModels => Some(format!("{} (certain models)", permission.name())),
                Reach::NotAtAll => None,
            }
        });
    let mut may: Vec<_> = may.collect();
    if may.is_empty() {
        may.push("nothing: no access rule is about this caller".to_owned());
    }
    if caller.bounds.as_ref().is_some_and(|bounds| bounds.act_as) {
        may.push("act_as (name its end users)".to_owned());
    }
    may
}

/// Those that the bundle declares, or else those that a key is bound to.
fn models(caller: &Principal, snapshot: &Snapshot) -> Vec<String> {
    if !snapshot.bundle().models.is_empty() {
        return visible_models(caller, snapshot).map(|model| model.name.to_string()).collect();
    }
    let bound = caller.bounds.as_ref().map(|KeyBounds { models, .. }| models.as_slice());
    bound.unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn limits(caller: &Principal, snapshot: &Snapshot) -> Vec<String> {
    let of_caller = snapshot.limits(&caller.tenant).filter(|limit| is_about(limit, caller));
    of_caller.map(limit).collect()
}

fn limit(limit: &Limit) -> String {
    let Limit { id, counter, scope, measure, window, amount, .. } = limit;
    let measure = match measure {
        Measure::Requests => "requests",
        Measure::InputTokens => "input tokens",
        Measure::OutputTokens => "output tokens",
        Measure::TotalTokens => "tokens",
    };
    let counted = match counter {
        Counter::Shared => "together",
        Counter::EachPrincipal => "for each caller",
        Counter::EachModel => "for each model",
        Counter::EachPrincipalAndModel => "for each caller and model",
    };
    let names: Vec<_> = scope.models.iter().map(ToString::to_string).collect();
    let models = if names.is_empty() { String::new() } else { format!(", of {}", names.join(", ")) };
    format!("{id}: {amount} {measure} per {window:?}, counted {counted}{models}")
}
