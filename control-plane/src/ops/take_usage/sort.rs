//! What of a batch is usage, and what is put aside.

use crate::db::usage::{EventKey, Membership, Quarantined};
use attach_proto::{
    id::{MAX_ID_BYTES, TenantId},
    usage::{PrincipalSnapshot, UsageEvent},
    v1,
};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// An agent keeps what was not acknowledged for as long as it takes; older than this is a clock gone wrong.
const OLDEST: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Clocks of hosts may be ahead by this much.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// Of a user and of an issuer. The key of the sums holds both beside tenant, model and kind, and Postgres keeps index rows of
/// at most 2,704 bytes.
const MAX_NAME_BYTES: usize = 1_024;

/// A bundle reaches an agent only after a membership began, and its end may reach it late. The policy of `usage_event` says
/// the same.
const MEMBERSHIP_SLACK: SignedDuration = SignedDuration::from_mins(5);

/// What of a batch is usage, in the order of its numbers, and what is not.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    pub(super) good: Vec<Good<'a>>,
    pub(super) aside: Vec<Quarantined>,
}

/// An event that counts.
#[derive(Debug)]
pub(super) struct Good<'a> {
    pub(super) seq: i64,
    /// As the agent encoded it.
    pub(super) body: &'a [u8],
    pub(super) event: UsageEvent,
}

/// Events in the order of their numbers; `known` came by another spool.
pub(super) fn sort<'a>(
    events: &[(i64, &'a Bytes)],
    memberships: &HashMap<TenantId, Vec<Membership>>,
    known: &HashSet<EventKey>,
    now: Timestamp,
) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    let mut seen = HashSet::new();
    for (seq, body) in events {
        let wire = v1::UsageEvent::decode(&***body).unwrap_or_default();
        let claimed_tenant = claimed(&wire);
        let reason = match UsageEvent::try_from(wire) {
            Err(_) => "is no usage event that this version can read",
            Ok(event) => match why_aside(&event, memberships, now) {
                Some(reason) => reason,
                None => {
                    let key = key_of(&event);
                    if known.contains(&key) || !seen.insert(key) {
                        "came before, by another number"
                    } else {
                        sorted.good.push(Good { seq: *seq, body, event });
                        continue;
                    }
                }
            },
        };
        sorted.aside.push(Quarantined { seq: *seq, claimed_tenant, reason, body: body.to_vec() });
    }
    sorted
}

/// One that the database refused by itself.
pub(super) fn unfit((seq, body): &(i64, &Bytes)) -> Quarantined {
    let wire = v1::UsageEvent::decode(&***body).unwrap_or_default();
    let (claimed_tenant, reason) = (claimed(&wire), "the database can't keep a value of it");
    Quarantined { seq: *seq, claimed_tenant, reason, body: body.to_vec() }
}

fn claimed(wire: &v1::UsageEvent) -> String {
    wire.tenant.chars().filter(|c| *c != '\0').take(MAX_CLAIMED_TENANT).collect()
}

/// As long as an id may be.
const MAX_CLAIMED_TENANT: usize = 128;

/// Which event it is, where it says so.
pub(super) fn key(wire: v1::UsageEvent) -> Option<EventKey> {
    let at = wire.occurred_at?;
    Some(EventKey {
        tenant: wire.tenant,
        occurred_at_us: Timestamp::new(at.seconds, at.nanos).ok()?.as_microsecond(),
        event_id: Uuid::parse_str(&wire.event_id).ok()?,
    })
}

pub(super) fn key_of(event: &UsageEvent) -> EventKey {
    EventKey {
        tenant: event.tenant.as_str().to_owned(),
        occurred_at_us: event.occurred_at.as_microsecond(),
        event_id: event.event_id,
    }
}

fn why_aside(
    event: &UsageEvent,
    memberships: &HashMap<TenantId, Vec<Membership>>,
    now: Timestamp,
) -> Option<&'static str> {
    let at = event.occurred_at;
    if at > now + AHEAD {
        return Some("its time is in the future");
    }
    if at < now - OLDEST {
        return Some("its time is more than 60 days ago");
    }
    let is_member = memberships.get(&event.tenant).is_some_and(|memberships| {
        memberships.iter().any(|membership| {
            membership.since - MEMBERSHIP_SLACK <= at
                && membership.until.is_none_or(|until| at < until + MEMBERSHIP_SLACK)
        })
    });
    if !is_member {
        return Some("its tenant was not in the agent's pool at that time");
    }
    if texts(event).any(|text| text.contains('\0')) {
        return Some("a text of it has a byte zero, which no table keeps");
    }
    let PrincipalSnapshot { subject, issuer, .. } = &event.principal;
    let is_long = subject.len() > MAX_NAME_BYTES
        || issuer.as_ref().is_some_and(|issuer| issuer.len() > MAX_NAME_BYTES)
        || event.measures.iter().any(|measure| measure.kind.len() > MAX_ID_BYTES);
    is_long.then_some("its user, issuer or a kind of measure is longer than the sums can have it")
}

/// All that is no id: ids have no odd bytes.
fn texts(event: &UsageEvent) -> impl Iterator<Item = &str> {
    let PrincipalSnapshot { subject, issuer, groups, project, .. } = &event.principal;
    [event.request_id.as_str(), &event.operation, &event.dialect, subject]
        .into_iter()
        .chain([issuer, project].into_iter().flatten().map(String::as_str))
        .chain(groups.iter().map(String::as_str))
        .chain(event.measures.iter().map(|measure| &*measure.kind))
        .chain(event.attempts.iter().filter_map(|attempt| attempt.error.as_deref()))
}
