//! Reads a spool that another process may be writing.

use super::{
    directory::Found,
    rollup::{self, DAY_MS, Tally},
    store::{self, Store, StoreError, meta},
};
use jiff::Timestamp;
use rusqlite::Connection;

/// Events read at a time, so that a slow terminal does not hold back the gateway's log.
const EVENTS_PER_PAGE: i64 = 1_000;

/// `None` for a spool that its process is just making, never came to use, or has just been removed.
pub(super) fn open(spool: &Found) -> Result<Option<Store>, StoreError> {
    if !spool.path.join(store::FILE_NAME).exists() {
        return Ok(None);
    }
    match Store::open_to_read(&spool.path) {
        Err(_) if !spool.path.exists() => Ok(None),
        result => result,
    }
}

/// What was used since then, from one unchanging view of the spool.
pub(super) fn tally(spool: &Found, since: Option<Timestamp>) -> Result<Tally, StoreError> {
    let since_ms = since.map_or(i64::MIN, Timestamp::as_millisecond);
    match open(spool)? {
        Some(mut store) => store.view(|view| tally_of(view, since_ms)),
        None => Ok(Tally::default()),
    }
}

/// The next events behind number `after`, with their numbers; none at the end.
pub(super) fn page(
    store: &mut Store,
    after: i64,
    since: Option<Timestamp>,
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let since_ms = since.map_or(i64::MIN, Timestamp::as_millisecond);
    store.view(|view| {
        view.prepare_cached("select seq, body from ev where seq > ?1 and at >= ?2 order by seq limit ?3")?
            .query_map([after, since_ms, EVENTS_PER_PAGE], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })
}

/// Sums of the days after `since`, the events of its own day from then on, and the events that are in no sum yet.
fn tally_of(view: &Connection, since_ms: i64) -> rusqlite::Result<Tally> {
    let since_day = since_ms.div_euclid(DAY_MS);
    let rolled = meta(view, "rolled")?.unwrap_or_default();

    // The first day is summed from its events when it is cut, unless it is so old that only its sums are left.
    let span = view
        .prepare("select first_seq, min(last_seq, ?2) from day_span where day = ?1")?
        .query_map([since_day, rolled], |row| Ok((row.get(0)?, row.get(1)?)))?
        .next()
        .transpose()?
        .filter(|_| since_ms.rem_euclid(DAY_MS) != 0);
    let first_whole_day = if span.is_some() { since_day + 1 } else { since_day };

    let mut tally = tally_events(view, (rolled + 1, i64::MAX), (since_ms, i64::MAX))?;
    if let Some(span) = span {
        let cut_day = tally_events(view, span, (since_ms, (since_day + 1) * DAY_MS))?;
        tally.merge(Tally { undecodable: 0, ..cut_day });
    }
    let mut select = view.prepare("select * from usage_day where day >= ?1")?;
    let mut rows = select.query([first_whole_day])?;
    while let Some(row) = rows.next()? {
        tally.add(rollup::owner(row)?, &rollup::summed(row)?, rollup::amount(row)?);
    }
    // Those that were summed have been counted, whatever their day.
    let undecodable = meta(view, "undecodable")?.unwrap_or_default();
    tally.undecodable = tally.undecodable.saturating_add(undecodable.unsigned_abs());
    Ok(tally)
}

fn tally_events(
    view: &Connection,
    (first, last): (i64, i64),
    (from_ms, until_ms): (i64, i64),
) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    let mut select = view.prepare_cached(
        "select at, body from ev where seq between ?1 and ?2 and at >= ?3 and at < ?4 order by seq",
    )?;
    let mut rows = select.query([first, last, from_ms, until_ms])?;
    while let Some(row) = rows.next()? {
        tally.add_body(row.get(0)?, row.get_ref(1)?.as_blob()?);
    }
    Ok(tally)
}
