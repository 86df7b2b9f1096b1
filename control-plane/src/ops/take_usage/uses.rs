//! Which keys a batch shows to have been used, and when.

use super::sort::Good;
use crate::db::usage::UsedKey;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The last time of each, in seconds. A host's clock may be ahead of ours; nothing was used in the future.
pub(super) fn uses<'a>(events: &'a [Good<'_>], now: Timestamp) -> BTreeMap<UsedKey<'a>, i64> {
    let mut uses = BTreeMap::new();
    for Good { event, .. } in events {
        let Some(key) = &event.principal.key else { continue };
        let at = event.occurred_at.min(now).as_second();
        let last = uses.entry(UsedKey { tenant: event.tenant.as_str(), key: key.as_str() }).or_insert(at);
        *last = at.max(*last);
    }
    uses
}
