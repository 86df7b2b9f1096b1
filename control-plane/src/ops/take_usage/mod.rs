//! Usage events from an agent's spool, each exactly once.
//!
//! A spool numbers its events without a gap, and its cursor here is locked while a batch is taken. What is at or below the
//! cursor was taken before: it is passed over if it is the same, and an alarm if it is not. What nobody may be charged for
//! is put aside whole, so that the spool goes on and nothing is lost.

mod columns;
mod sort;
mod sums;
mod uses;

use crate::db::{
    Database, DbError, IngestTx, agents, alarms,
    usage::{self, EventKey},
};
use attach_proto::{enrolment::AgentName, v1};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use sort::{Sorted, sort};
use std::collections::HashSet;
use uuid::Uuid;

/// Twice what an agent sends at a time; a batch of these takes some tens of milliseconds.
pub(crate) const MAX_EVENTS: usize = 2_000;

#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error("the agent was revoked")]
    Revoked,
    #[error("the agent is not on record")]
    Unknown,
    #[error("{field} {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("the batch leaves a gap: event {expected} is next")]
    Gap { expected: i64 },
    #[error("the spool belongs to another agent")]
    ForeignSpool,
    #[error("event {seq} was taken before with another content")]
    Changed { seq: i64 },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Returns the number up to which all of the spool is committed.
pub(crate) async fn take_usage(
    db: &Database,
    agent: &AgentName,
    batch: v1::UsageBatch,
    now: Timestamp,
) -> Result<i64, TakeError> {
    let batch = Batch::check(batch)?;
    match take_known(db, agent, &batch, now).await {
        Err(TakeError::Db(DbError::Value(error))) => {
            tracing::error!(%error, spool = %batch.spool, "the database can't keep an event; looking for it");
            take_by_halves(db, agent, batch, now).await
        }
        taken => taken,
    }
}

/// As [`take`] does, also where some came by another spool.
async fn take_known(
    db: &Database,
    agent: &AgentName,
    batch: &Batch,
    now: Timestamp,
) -> Result<i64, TakeError> {
    let mut known = HashSet::new();
    // Twice only where events came by another spool, which the first time shows.
    for _ in 0..2 {
        match take(db, agent, batch, now, Known::Events(&known)).await? {
            Taken::UpTo(seq) => return Ok(seq),
            Taken::SomeAreKnown(found) => known = found,
            Taken::Alarm(kind, error) => {
                // In a transaction of its own: that of the batch is not to be.
                let mut tx = db.ingest(&agent.pool).await?;
                let detail = format!("spool {}: {error}", batch.spool);
                alarms::raise(tx.connection(), kind, &agent.agent, &detail, now).await?;
                tx.commit().await?;
                return Err(error);
            }
        }
    }
    Err(TakeError::Invalid { field: "events", problem: "are being sent twice at once".to_owned() })
}

/// The events that the database can't keep are put aside, each by itself: a spool that stopped before one would never go on.
async fn take_by_halves(
    db: &Database,
    agent: &AgentName,
    batch: Batch,
    now: Timestamp,
) -> Result<i64, TakeError> {
    let mut up_to = batch.first_seq - 1;
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        up_to = match take_known(db, agent, &part, now).await {
            Err(TakeError::Db(DbError::Value(_))) if part.events.len() > 1 => {
                let second = part.split_off(part.events.len() / 2);
                parts.extend([second, part]);
                continue;
            }
            Err(TakeError::Db(DbError::Value(_))) => match take(db, agent, &part, now, Known::Unfit).await? {
                Taken::UpTo(seq) => seq,
                Taken::SomeAreKnown(_) => up_to,
                Taken::Alarm(_, error) => return Err(error),
            },
            taken => taken?,
        };
    }
    Ok(up_to)
}

struct Batch {
    spool: Uuid,
    first_seq: i64,
    events: Vec<Bytes>,
}

/// What is known of a batch beforehand.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// These came by another spool.
    Events(&'a HashSet<EventKey>),
    /// The database can't keep its one event.
    Unfit,
}

enum Taken {
    UpTo(i64),
    /// Events of this batch came by another spool; the transaction was given up.
    SomeAreKnown(HashSet<EventKey>),
    Alarm(&'static str, TakeError),
}

impl Batch {
    fn check(batch: v1::UsageBatch) -> Result<Self, TakeError> {
        let invalid = |field, problem: String| TakeError::Invalid { field, problem };
        let v1::UsageBatch { spool, first_seq, events } = batch;
        let spool = Uuid::parse_str(&spool).map_err(|_| invalid("spool", "is no UUID".to_owned()))?;
        let first_seq = i64::try_from(first_seq)
            .ok()
            .filter(|first| *first > 0 && *first < i64::MAX / 2)
            .ok_or_else(|| invalid("first_seq", "must be a number from 1 on".to_owned()))?;
        if events.is_empty() || events.len() > MAX_EVENTS {
            return Err(invalid("events", format!("must be 1 to {MAX_EVENTS}")));
        }
        Ok(Self { spool, first_seq, events })
    }

    fn split_off(&mut self, at: usize) -> Self {
        let events = self.events.split_off(at);
        let first_seq = self.first_seq + i64::try_from(at).unwrap_or(i64::MAX);
        Self { spool: self.spool, first_seq, events }
    }

    fn numbered(&self) -> impl Iterator<Item = (i64, &Bytes)> {
        (self.first_seq..).zip(&self.events)
    }
}

async fn take(
    db: &Database,
    agent: &AgentName,
    batch: &Batch,
    now: Timestamp,
    known: Known<'_>,
) -> Result<Taken, TakeError> {
    let mut tx = db.ingest(&agent.pool).await?;
    match agents::standing(tx.connection(), &agent.agent, &agent.pool).await? {
        agents::Standing::Good => {}
        agents::Standing::Revoked => return Err(TakeError::Revoked),
        agents::Standing::Unknown => return Err(TakeError::Unknown),
    }
    let cursor = usage::lock_spool(tx.connection(), batch.spool, &agent.agent, now).await?;
    if cursor.agent != agent.agent.as_str() {
        return Ok(Taken::Alarm("usage_foreign_spool", TakeError::ForeignSpool));
    }
    if batch.first_seq > cursor.last_seq + 1 {
        return Ok(Taken::Alarm("usage_gap", TakeError::Gap { expected: cursor.last_seq + 1 }));
    }
    let (taken, new): (Vec<_>, Vec<_>) = batch.numbered().partition(|(seq, _)| *seq <= cursor.last_seq);
    if let Some(seq) = first_changed(&mut tx, batch.spool, &taken).await? {
        return Ok(Taken::Alarm("usage_changed", TakeError::Changed { seq }));
    }
    let Some((last_seq, _)) = new.last().copied() else { return Ok(Taken::UpTo(cursor.last_seq)) };

    let memberships = usage::memberships(tx.connection(), &agent.pool).await?;
    let Sorted { good, aside } = match known {
        Known::Events(known) => sort(&new, &memberships, known, now),
        Known::Unfit => Sorted { good: Vec::new(), aside: new.iter().map(sort::unfit).collect() },
    };
    if !good.is_empty() {
        let columns = columns::columns(&good);
        if !usage::insert(tx.connection(), &agent.pool, &agent.agent, batch.spool, now, &columns).await? {
            // Given up first: a statement that failed ends the transaction.
            drop(tx);
            let keys: Vec<EventKey> = good.iter().map(|good| sort::key_of(&good.event)).collect();
            let found = usage::kept(db.system().await?.connection(), &keys).await?;
            return Ok(Taken::SomeAreKnown(found.into_keys().collect()));
        }
        usage::add_to_hours(tx.connection(), &sums::sums(&good)).await?;
        usage::note_use(tx.connection(), &uses::uses(&good, now)).await?;
    }
    for event in &aside {
        usage::quarantine(tx.connection(), batch.spool, &agent.agent, now, event).await?;
    }
    if let Some(first) = aside.first() {
        let detail = format!(
            "spool {}: {} events put aside, the first is {}: {}",
            batch.spool,
            aside.len(),
            first.seq,
            first.reason
        );
        alarms::raise(tx.connection(), "usage_put_aside", &agent.agent, &detail, now).await?;
    }
    usage::advance(tx.connection(), batch.spool, last_seq, now).await?;
    tx.commit().await?;
    Ok(Taken::UpTo(last_seq))
}

/// The first of the events, all taken before, that is not what was taken.
async fn first_changed(
    tx: &mut IngestTx,
    spool: Uuid,
    taken: &[(i64, &Bytes)],
) -> Result<Option<i64>, DbError> {
    if taken.is_empty() {
        return Ok(None);
    }
    let with_keys: Vec<_> = taken
        .iter()
        .map(|(seq, body)| (*seq, *body, v1::UsageEvent::decode(&***body).ok().and_then(sort::key)))
        .collect();
    let keys: Vec<EventKey> = with_keys.iter().filter_map(|(_, _, key)| key.clone()).collect();
    let seqs: Vec<i64> = taken.iter().map(|(seq, _)| *seq).collect();
    let connection = tx.look().await?;
    let events = usage::kept(connection, &keys).await?;
    let aside = usage::quarantined(connection, spool, &seqs).await?;
    tx.look_away().await?;
    let is_same = |seq: &i64, body: &Bytes, key: &Option<EventKey>| {
        let event = key.as_ref().and_then(|key| events.get(key));
        // Under its own number: one that stands under another was exchanged for it.
        event.is_some_and(|event| {
            event.spool == spool && event.seq == *seq && event.sha256 == digest(&SHA256, body).as_ref()
        }) || aside.get(seq).is_some_and(|kept| kept == body)
    };
    Ok(with_keys.iter().find(|(seq, body, key)| !is_same(seq, body, key)).map(|(seq, _, _)| *seq))
}
