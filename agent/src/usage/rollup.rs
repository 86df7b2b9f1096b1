//! Daily sums of usage, kept beside the events: they outlive them, and make the table of a month a matter of
//! milliseconds. Written a step at a time by whoever holds the spool, never in a commit that a core waits for.

use super::{
    store::{ACKNOWLEDGED, LAST_SEQ, Store, StoreError, last_seq, meta, set_meta},
    summand::Summand,
};
use attach_proto::v1;
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::BTreeMap;

/// Events that one step sums. Measured: 1.2 ms, which a commit that comes meanwhile waits.
pub(super) const EVENTS_PER_STEP: i64 = 1_000;

/// Events that one step deletes. Measured: 0.28 ms at the median and 28 ms at worst, against 35 ms for 1,000.
const DELETED_PER_STEP: i64 = 200;

pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How long an event is kept that a control plane has acknowledged: the time in which it may ask for it again.
const KEEP_ACKNOWLEDGED_MS: i64 = 7 * DAY_MS;

/// How long an event is kept where no control plane takes it, so that `usage --events` can answer for a month.
const KEEP_STANDALONE_MS: i64 = 30 * DAY_MS;

/// How long daily sums are kept: thirteen months, so that a month can be held against the same one a year ago.
const KEEP_SUMS_DAYS: i64 = 400;

/// Whose sums they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Owner {
    /// Since the Unix epoch, in UTC.
    pub(super) day: i64,
    pub(super) tenant: String,
    /// Number of `v1::PrincipalKind`: a reader keeps those it does not know.
    pub(super) principal_kind: i32,
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) model: String,
}

/// An [`Owner`] by its parts, which hash as the owner does: the same fields in the same order.
#[derive(Hash)]
struct OwnerRef<'e> {
    day: i64,
    tenant: &'e str,
    principal_kind: i32,
    issuer: &'e str,
    subject: &'e str,
    model: &'e str,
}

/// What is summed. `kind` is empty for the requests themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Summed {
    pub(super) kind: String,
    /// Number of `v1::MeasureSource`.
    pub(super) source: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) quantity: u64,
    pub(super) requests: u64,
}

/// Sums, whether they come from events or from rows of sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// An event has a handful of measures, so a look at each is the fastest index.
    pub(super) amounts: HashMap<Owner, Vec<(Summed, Amount)>, RandomState>,
    /// Events whose body is not a usage event. None should be; they are counted so that they do not vanish.
    pub(super) undecodable: u64,
}

impl Tally {
    pub(super) fn add_body(&mut self, at_ms: i64, body: &[u8]) {
        match Summand::read(body) {
            Ok(summand) => self.add_summand(at_ms, &summand),
            Err(_) => self.undecodable += 1,
        }
    }

    pub(super) fn add(&mut self, owner: Owner, summed: &Summed, amount: Amount) {
        add_to(self.amounts.entry(owner).or_default(), &summed.kind, summed.source, amount);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.undecodable += other.undecodable;
        for (owner, amounts) in other.amounts {
            let sums = self.amounts.entry(owner).or_default();
            for (summed, amount) in amounts {
                add_to(sums, &summed.kind, summed.source, amount);
            }
        }
    }

    fn add_summand(&mut self, at_ms: i64, event: &Summand<'_>) {
        let owner = OwnerRef {
            day: at_ms.div_euclid(DAY_MS),
            tenant: event.tenant,
            principal_kind: event.principal.kind,
            issuer: event.principal.issuer,
            subject: event.principal.subject,
            model: event.model,
        };
        let sums = match self.amounts.get_mut(&owner) {
            Some(sums) => sums,
            None => self.amounts.entry(owner.into()).or_default(),
        };
        for measure in &event.measures {
            add_to(sums, measure.kind, measure.source, Amount { quantity: measure.quantity, requests: 1 });
        }
        add_to(sums, "", v1::MeasureSource::Unspecified.into(), Amount { quantity: 0, requests: 1 });
    }
}

impl Equivalent<Owner> for OwnerRef<'_> {
    fn equivalent(&self, owner: &Owner) -> bool {
        self.day == owner.day
            && self.subject == owner.subject
            && self.model == owner.model
            && self.tenant == owner.tenant
            && self.principal_kind == owner.principal_kind
            && self.issuer == owner.issuer
    }
}

impl From<OwnerRef<'_>> for Owner {
    fn from(owner: OwnerRef<'_>) -> Self {
        Self {
            day: owner.day,
            tenant: owner.tenant.to_owned(),
            principal_kind: owner.principal_kind,
            issuer: owner.issuer.to_owned(),
            subject: owner.subject.to_owned(),
            model: owner.model.to_owned(),
        }
    }
}

fn add_to(sums: &mut Vec<(Summed, Amount)>, kind: &str, source: i32, amount: Amount) {
    match sums.iter_mut().find(|(known, _)| known.source == source && known.kind == kind) {
        Some((_, sum)) => {
            sum.quantity = sum.quantity.saturating_add(amount.quantity);
            sum.requests = sum.requests.saturating_add(amount.requests);
        }
        None => sums.push((Summed { kind: kind.to_owned(), source }, amount)),
    }
}

/// Adds the next events to the sums, and moves the mark in the same transaction. Returns the mark.
pub(super) fn roll_up(store: &mut Store) -> Result<i64, StoreError> {
    store.transaction(|transaction| {
        let rolled = meta(transaction, "rolled")?.unwrap_or_default();
        let mut tally = Tally::default();
        let mut spans: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        let mut last = rolled;
        let mut select = transaction
            .prepare_cached("select seq, at, body from ev where seq > ?1 order by seq limit ?2")?;
        let mut rows = select.query([rolled, EVENTS_PER_STEP])?;
        while let Some(row) = rows.next()? {
            let (seq, at_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
            last = seq;
            tally.add_body(at_ms, row.get_ref(2)?.as_blob()?);
            spans.entry(at_ms.div_euclid(DAY_MS)).or_insert((seq, seq)).1 = seq;
        }
        if last == rolled {
            return Ok(rolled);
        }
        write(transaction, &tally, &spans)?;
        set_meta(transaction, "rolled", last)?;
        Ok(last)
    })
}

/// Deletes a few events, or a day of sums, that are kept no longer. Returns whether there may be more.
pub(super) fn prune(store: &mut Store, now_ms: i64) -> Result<bool, StoreError> {
    store.transaction(|transaction| {
        let rolled = meta(transaction, "rolled")?.unwrap_or_default();
        let (deletable, keep_ms) = match meta(transaction, ACKNOWLEDGED)? {
            Some(acked) => (rolled.min(acked), KEEP_ACKNOWLEDGED_MS),
            None => (rolled, KEEP_STANDALONE_MS),
        };
        // Whole days only: a day's events are the detail of its sums, and are there or not.
        let first_kept_day = now_ms.saturating_sub(keep_ms).div_euclid(DAY_MS);
        let ended: Option<(i64, i64, i64)> = transaction
            .prepare_cached(
                "select day, first_seq, last_seq from day_span where day < ?1 and last_seq <= ?2 order by day limit 1",
            )?
            .query_row([first_kept_day, deletable], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((day, first, last)) = ended {
            let given = last_seq(transaction)?;
            set_meta(transaction, LAST_SEQ, given)?;
            let deleted = transaction
                .prepare_cached(
                    "delete from ev where seq in (select seq from ev
                     where seq between ?1 and ?2 and at < ?3 and at >= ?4 limit ?5)",
                )?
                .execute([first, last, (day + 1) * DAY_MS, day * DAY_MS, DELETED_PER_STEP])?;
            if deleted == 0 {
                transaction.execute("delete from day_span where day = ?1", [day])?;
            }
            return Ok(true);
        }
        let first_kept_sum = now_ms.div_euclid(DAY_MS).saturating_sub(KEEP_SUMS_DAYS);
        let deleted = transaction
            .prepare_cached(
                "delete from usage_day where day < ?1 and day = (select min(day) from usage_day)",
            )?
            .execute([first_kept_sum])?;
        Ok(deleted > 0)
    })
}

/// Whether nothing is left that anybody could ask for.
pub(super) fn is_spent(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "select not exists (select 1 from ev) and not exists (select 1 from usage_day)",
        [],
        |row| row.get(0),
    )
}

pub(super) fn owner(row: &Row<'_>) -> rusqlite::Result<Owner> {
    Ok(Owner {
        day: row.get("day")?,
        tenant: row.get("tenant")?,
        principal_kind: row.get("principal_kind")?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
        model: row.get("model")?,
    })
}

pub(super) fn summed(row: &Row<'_>) -> rusqlite::Result<Summed> {
    Ok(Summed { kind: row.get("kind")?, source: row.get("source")? })
}

pub(super) fn amount(row: &Row<'_>) -> rusqlite::Result<Amount> {
    // The table's checks keep both from being negative.
    let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(Amount { quantity: number("quantity")?, requests: number("requests")? })
}

fn write(transaction: &Connection, tally: &Tally, spans: &BTreeMap<i64, (i64, i64)>) -> rusqlite::Result<()> {
    // SQLite would turn a sum that passes its integers into a float, hence the ceiling.
    let mut add = transaction.prepare_cached(
        "insert into usage_day values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         on conflict do update set
             quantity = iif(quantity > 9223372036854775807 - excluded.quantity,
                            9223372036854775807, quantity + excluded.quantity),
             requests = requests + excluded.requests",
    )?;
    for (owner, amounts) in &tally.amounts {
        for (summed, amount) in amounts {
            add.execute(params![
                owner.day,
                owner.tenant,
                owner.principal_kind,
                owner.issuer,
                owner.subject,
                owner.model,
                summed.kind,
                summed.source,
                i64::try_from(amount.quantity).unwrap_or(i64::MAX),
                i64::try_from(amount.requests).unwrap_or(i64::MAX),
            ])?;
        }
    }
    let mut widen = transaction.prepare_cached(
        "insert into day_span values (?1, ?2, ?3) on conflict do update set last_seq = excluded.last_seq",
    )?;
    for (day, (first, last)) in spans {
        widen.execute([day, first, last])?;
    }
    if tally.undecodable > 0 {
        let sum = meta(transaction, "undecodable")?.unwrap_or_default();
        set_meta(
            transaction,
            "undecodable",
            sum.saturating_add(i64::try_from(tally.undecodable).unwrap_or(i64::MAX)),
        )?;
    }
    Ok(())
}
