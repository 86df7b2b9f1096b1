//! Which engine a request goes to when no model leads to one: the one that was named, or the only one there is.

use super::Forbidden;
use crate::{
    ask::{Ask, Operation},
    snapshot::{Engine, Snapshot},
};
use attach_proto::bundle::UpstreamKind;
use std::sync::Arc;

pub(super) fn pin(ask: &Ask, snapshot: &Snapshot) -> Result<Arc<Engine>, Forbidden> {
    // Only Ollama has models that can be pulled and made.
    let can = |engine: &&Arc<Engine>| {
        ask.route().operation == Operation::Opened || engine.upstream.kind == UpstreamKind::Ollama
    };
    // The operator's word counts, and else the caller's.
    let named = ask.opened_for().map(|id| id.as_str()).or_else(|| ask.named_upstream());
    let is_named = |engine: &&Arc<Engine>| named.is_none_or(|name| engine.upstream.id.as_str() == name);
    let mut engines = snapshot.engines().iter().filter(can).filter(is_named);
    match (engines.next(), engines.next()) {
        (None, _) => Err(Forbidden::NoUpstream(named.map(str::to_owned))),
        (Some(engine), None) => Ok(Arc::clone(engine)),
        (Some(_), Some(_)) => Err(Forbidden::WhichUpstream),
    }
}
