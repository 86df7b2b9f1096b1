//! What a batch adds to which sums.

use super::{columns, sort::Good};
use crate::db::usage::{HourKey, HourSum};
use attach_proto::usage::{MeasuredQuantity, UsageEvent};
use std::collections::{BTreeMap, HashMap};

const SECONDS_OF_AN_HOUR: i64 = 3600;

/// Each measure by its kind and source, and each request once, with its first measure: a third fewer rows to write than if
/// the requests had rows of their own.
pub(super) fn sums<'a>(events: &'a [Good<'_>]) -> BTreeMap<HourKey<'a>, HourSum> {
    // By hash first: the keys of a batch differ only near their ends, which makes them dear to compare.
    let mut sums: HashMap<HourKey<'_>, HourSum> = HashMap::new();
    for Good { event, .. } in events {
        let of_nothing = key_of_nothing(event);
        let key = |measure: &'a MeasuredQuantity| HourKey {
            kind: &measure.kind,
            source: columns::source(measure.source),
            ..of_nothing
        };
        let first = event.measures.first().map_or(of_nothing, key);
        sums.entry(first).or_default().requests += 1;
        for measure in &event.measures {
            let sum = sums.entry(key(measure)).or_default();
            // A batch is far too small to go beyond 128 bits.
            sum.quantity += u128::from(measure.quantity);
        }
    }
    sums.into_iter().collect()
}

/// Where an event counts that measured nothing.
fn key_of_nothing(event: &UsageEvent) -> HourKey<'_> {
    HourKey {
        tenant: event.tenant.as_str(),
        hour: event.occurred_at.as_second().div_euclid(SECONDS_OF_AN_HOUR) * SECONDS_OF_AN_HOUR,
        principal_kind: columns::principal_kind(event),
        issuer: event.principal.issuer.as_deref().unwrap_or_default(),
        subject: &event.principal.subject,
        model: columns::model(event),
        kind: "",
        source: 0,
    }
}
