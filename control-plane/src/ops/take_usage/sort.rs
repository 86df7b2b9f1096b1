//! What of a batch is usage, what it adds to which sums, and what is put aside.

use crate::db::usage::{Columns, EventKey, HourKey, HourSum, Membership, Quarantined};
use attach_proto::{
    id::TenantId,
    usage::{MeasureSource, PrincipalSnapshot, UsageEvent},
    v1,
};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// An agent keeps what was not acknowledged for as long as it takes; older than this is a clock gone wrong.
const OLDEST: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Clocks of hosts may be ahead by this much.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// A bundle reaches an agent only after a membership began, and its end may reach it late. The policy of `usage_event` says
/// the same.
const MEMBERSHIP_SLACK: SignedDuration = SignedDuration::from_mins(5);

const SECONDS_OF_AN_HOUR: i64 = 3600;

#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) columns: Columns,
    pub(super) keys: Vec<EventKey>,
    pub(super) hours: BTreeMap<HourKey, HourSum>,
    pub(super) aside: Vec<Quarantined>,
}

/// Events in the order of their numbers; `known` came by another spool.
pub(super) fn sort(
    events: &[(i64, &Bytes)],
    memberships: &HashMap<TenantId, Vec<Membership>>,
    known: &HashSet<EventKey>,
    now: Timestamp,
) -> Sorted {
    let mut sorted = Sorted::default();
    let mut seen = HashSet::new();
    for (seq, body) in events {
        let wire = v1::UsageEvent::decode(&***body).unwrap_or_default();
        let claimed_tenant = wire.tenant.chars().filter(|c| *c != '\0').take(MAX_CLAIMED_TENANT).collect();
        let reason = match UsageEvent::try_from(wire) {
            Err(_) => "is no usage event that this version can read",
            Ok(event) => match why_aside(&event, memberships, now) {
                Some(reason) => reason,
                None => {
                    let key = key_of(&event);
                    if known.contains(&key) || !seen.insert(key.clone()) {
                        "came before, by another number"
                    } else {
                        sorted.add_to_hours(&event);
                        sorted.columns.push(*seq, body, &key, event);
                        sorted.keys.push(key);
                        continue;
                    }
                }
            },
        };
        sorted.aside.push(Quarantined { seq: *seq, claimed_tenant, reason, body: body.to_vec() });
    }
    sorted
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

fn key_of(event: &UsageEvent) -> EventKey {
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
    texts(event)
        .any(|text| text.contains('\0'))
        .then_some("a text of it has a byte zero, which no table keeps")
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

impl Sorted {
    fn add_to_hours(&mut self, event: &UsageEvent) {
        let key = |kind: &str, source: i16| HourKey {
            tenant: event.tenant.as_str().to_owned(),
            hour: event.occurred_at.as_second().div_euclid(SECONDS_OF_AN_HOUR) * SECONDS_OF_AN_HOUR,
            principal_kind: principal_kind(event),
            issuer: event.principal.issuer.clone().unwrap_or_default(),
            subject: event.principal.subject.clone(),
            model: model(event),
            kind: kind.to_owned(),
            source,
        };
        self.hours.entry(key("", 0)).or_default().requests += 1;
        for measure in &event.measures {
            let sum = self.hours.entry(key(&measure.kind, source(measure.source))).or_default();
            sum.requests += 1;
            sum.quantity = sum.quantity.saturating_add(measure.quantity);
        }
    }
}

fn model(event: &UsageEvent) -> String {
    event.model.as_ref().map(|model| model.as_str().to_owned()).unwrap_or_default()
}

/// The wire's own numbers are what the tables keep.
fn principal_kind(event: &UsageEvent) -> i16 {
    small(v1::PrincipalKind::from(event.principal.kind).into())
}

fn source(source: MeasureSource) -> i16 {
    small(v1::MeasureSource::from(source).into())
}

fn small(number: i32) -> i16 {
    i16::try_from(number).unwrap_or_default()
}

impl Columns {
    fn push(&mut self, seq: i64, body: &Bytes, key: &EventKey, event: UsageEvent) {
        let (kind, model) = (principal_kind(&event), model(&event));
        let measures = event.measures.iter().map(|measure| {
            json!({ "kind": measure.kind, "quantity": measure.quantity, "source": source(measure.source) })
        });
        let attempts = event.attempts.iter().map(|attempt| {
            json!({
                "upstream": attempt.upstream.as_str(),
                "engine_model": attempt.engine_model.as_ref().map(|model| model.as_str()),
                "http_status": attempt.http_status,
                "error": attempt.error,
            })
        });
        let milliseconds =
            |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.measures.push(Value::Array(measures.collect()));
        self.attempts.push(Value::Array(attempts.collect()));
        self.tenant.push(key.tenant.clone());
        self.occurred_at_us.push(key.occurred_at_us);
        self.event_id.push(key.event_id);
        self.seq.push(seq);
        self.sha256.push(digest(&SHA256, body).as_ref().to_vec());
        self.model.push(model);
        self.principal_kind.push(kind);
        self.stream.push(event.stream);
        self.outcome.push(small(v1::Outcome::from(event.outcome).into()));
        self.http_status
            .push(event.http_status.and_then(|status| i16::try_from(status).ok()).unwrap_or_default());
        self.bundle_revision.push(i64::try_from(event.bundle_revision.0).unwrap_or(i64::MAX));
        self.time_to_first_byte_ms.push(event.time_to_first_byte.map(milliseconds));
        self.duration_ms.push(milliseconds(event.duration));
        self.request_id.push(event.request_id);
        self.operation.push(event.operation.into_owned());
        self.dialect.push(event.dialect.into_owned());
        let principal = event.principal;
        self.subject.push(principal.subject);
        self.issuer.push(principal.issuer.unwrap_or_default());
        self.key_id.push(principal.key.map(String::from).unwrap_or_default());
        self.groups.push(json!(principal.groups));
        self.project.push(principal.project.unwrap_or_default());
    }
}
