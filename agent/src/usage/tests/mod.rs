//! The spool on real files. `process.rs` has what needs a second process, `reading.rs` what comes out again.

mod outbox;
mod process;
mod reading;
mod trouble;

use super::{
    directory::{self, SpoolDirectory},
    orphans::{self, Tended},
    spool::{MAX_QUEUED_BYTES, PushError},
    *,
};
use crate::clock::Clock;
use attach_proto::{
    usage::{
        Attempt, MeasureSource, MeasuredQuantity, Outcome, PrincipalKind, PrincipalSnapshot, UsageEvent,
    },
    v1,
};
use jiff::Timestamp;
use prost::Message as _;
use rusqlite::{Connection, OpenFlags};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use uuid::Uuid;

const NOON: &str = "2026-11-05T12:00:00Z";

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn clock_at(text: &str) -> Clock {
    Clock::Manual(Arc::new(AtomicI64::new(at(text).as_millisecond())))
}

/// One request of `subject` with a count from the engine.
fn event(number: u64, subject: &str, occurred_at: &str) -> UsageEvent {
    let measure = |kind: &'static str, quantity| MeasuredQuantity {
        kind: kind.into(),
        quantity,
        source: MeasureSource::Engine,
    };
    UsageEvent {
        event_id: Uuid::from_u128(u128::from(number)),
        occurred_at: at(occurred_at),
        tenant: "acme".parse().unwrap(),
        pool: None,
        agent: "agent-1".parse().unwrap(),
        request_id: format!("req-{number}"),
        operation: "chat".into(),
        dialect: "openai".into(),
        model: Some("tiny".parse().unwrap()),
        stream: true,
        principal: PrincipalSnapshot {
            kind: PrincipalKind::User,
            subject: subject.to_owned(),
            issuer: Some("https://issuer.example".to_owned()),
            key: None,
            groups: vec!["staff".to_owned()],
            project: None,
            organisation: None,
            cost_centre: None,
            email: None,
            delegated_by: None,
        },
        measures: vec![
            measure(MeasuredQuantity::INPUT_TOKENS, 10),
            measure(MeasuredQuantity::OUTPUT_TOKENS, 5),
        ],
        outcome: Outcome::Complete,
        http_status: Some(200),
        bundle_revision: attach_proto::id::Revision(1),
        attempts: vec![Attempt {
            upstream: "ollama".parse().unwrap(),
            engine_model: Some("tiny".parse().unwrap()),
            http_status: Some(200),
            error: None,
        }],
        time_to_first_byte: Some(Duration::from_millis(12)),
        duration: Duration::from_millis(340),
    }
}

fn entry(event: &UsageEvent) -> Entry {
    Entry {
        at_ms: event.occurred_at.as_millisecond(),
        body: v1::UsageEvent::from(event.clone()).encode_to_vec(),
    }
}

fn entries(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    numbers.map(|number| entry(&event(number, "ada", NOON))).collect()
}

/// Pushes and waits until all of it was reported; the reports' results in order.
async fn push_and_wait(
    queue: &CoreQueue,
    reports: &mut CoreReports,
    mut events: Vec<Entry>,
) -> Vec<Result<(), SpoolFault>> {
    let up_to = queue.push(&mut events).unwrap();
    let mut results = Vec::new();
    loop {
        let report = reports.next().await;
        results.push(report.result);
        if report.up_to >= up_to {
            return results;
        }
    }
}

/// The only spool below a state directory.
fn spool_path(state: &Path) -> std::path::PathBuf {
    let found = directory::list(state).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].path.clone()
}

/// Numbers of all events in a spool, in the order of their `seq`, which must be 1, 2, 3, …
fn stored(spool: &Path) -> Vec<u64> {
    let file =
        Connection::open_with_flags(spool.join(store::FILE_NAME), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut select = file.prepare("select seq, body from ev order by seq").unwrap();
    let rows = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
    let mut numbers = Vec::new();
    for (index, row) in rows.enumerate() {
        let (seq, body) = row.unwrap();
        assert_eq!(seq, index as i64 + 1, "the numbers have a gap");
        let event = UsageEvent::try_from(v1::UsageEvent::decode(&*body).unwrap()).unwrap();
        numbers.push(event.event_id.as_u128() as u64);
    }
    numbers
}

/// A process that another test starts has copies of all our locks between its fork and its exec.
fn tend_when_free(state: &Path, found: &directory::Found, now: &str, stop: &AtomicBool) -> Tended {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match orphans::tend(state, found, &clock_at(now), stop).unwrap() {
            Tended::Held if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            tended @ (Tended::Held | Tended::Kept | Tended::Removed) => return tended,
        }
    }
}

#[tokio::test]
async fn ten_thousand_events_of_a_core_are_stored_in_order_and_none_is_lost() {
    let state = tempfile::tempdir().unwrap();
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ThisHost).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    let mut reported = 0;
    for chunk in 0..200_u64 {
        let pushed = queue.push(&mut entries(chunk * 50..(chunk + 1) * 50)).unwrap();
        assert_eq!(pushed, (chunk + 1) * 50);
        if chunk % 10 == 9 {
            while reported < pushed {
                let report = reports.next().await;
                assert_eq!(report.result, Ok(()));
                assert!(report.up_to > reported, "reports go backwards");
                reported = report.up_to;
                // Durable means: another connection sees it now.
                let last = *stored(&spool_path(state.path())).last().unwrap();
                assert!(last + 1 >= reported, "reported {reported}, stored up to {last}");
            }
        }
    }
    let stats = writer.handle().stats();
    assert_eq!((stats.stored, stats.refused, stats.last_seq, stats.fault), (10_000, 0, 10_000, None));
    assert!(stats.commits < 5_000, "{} commits: events are not grouped", stats.commits);
    writer.close().unwrap();
    assert_eq!(stored(&spool_path(state.path())), (0..10_000).collect::<Vec<_>>());
}

#[test]
fn four_cores_each_hear_of_their_own_events_in_order() {
    let state = tempfile::tempdir().unwrap();
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ThisHost).unwrap();
    let cores: Vec<_> = (0..4_u64)
        .map(|core| {
            let handle = writer.handle();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let (queue, mut reports) = handle.attach_core();
                    let mut before = 0;
                    for batch in 0..100_u64 {
                        let first = core * 1_000_000 + batch * 7;
                        let pushed = queue.push(&mut entries(first..first + 7)).unwrap();
                        if batch % 3 == 0 {
                            continue; // so that some reports cover several pushes
                        }
                        while before < pushed {
                            let report = reports.next().await;
                            assert_eq!(report.result, Ok(()));
                            assert!(report.up_to > before && report.up_to <= pushed);
                            before = report.up_to;
                        }
                    }
                });
            })
        })
        .collect();
    for core in cores {
        core.join().unwrap();
    }
    writer.close().unwrap();
    let all = stored(&spool_path(state.path()));
    assert_eq!(all.len(), 2_800);
    for core in 0..4_u64 {
        let own: Vec<u64> = all.iter().copied().filter(|number| number / 1_000_000 == core).collect();
        assert_eq!(own, (core * 1_000_000..core * 1_000_000 + 700).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn closing_stores_what_was_pushed_and_the_last_report_says_that_the_writer_is_gone() {
    let state = tempfile::tempdir().unwrap();
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ThisHost).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    queue.push(&mut entries(0..3)).unwrap();
    writer.close().unwrap();
    assert_eq!(reports.next().await, Report { up_to: 3, result: Ok(()) });
    assert_eq!(reports.next().await, Report { up_to: 3, result: Err(SpoolFault::Gone) });
    assert_eq!(queue.push(&mut entries(3..4)), Err(PushError::Gone));
    assert_eq!(stored(&spool_path(state.path())), [0, 1, 2]);
}

#[test]
fn a_core_that_pushes_more_than_its_lane_holds_keeps_the_rest() {
    let shared = Arc::new(spool::Shared::default());
    let (queue, _reports) = SpoolHandle::new(Arc::clone(&shared)).attach_core();
    let big = |bytes| Entry { at_ms: 0, body: vec![0; bytes] };
    let mut events = vec![big(MAX_QUEUED_BYTES - 1), big(1), big(1)];
    assert_eq!(queue.push(&mut events), Err(PushError::Full { pushed: 2 }));
    assert_eq!(events, [big(1)]);

    let mut small = vec![big(0); spool::MAX_QUEUED_EVENTS];
    assert_eq!(queue.push(&mut small), Err(PushError::Full { pushed: spool::MAX_QUEUED_EVENTS as u64 }));
    assert_eq!(small.len(), 2);

    shared.gather();
    assert_eq!(queue.push(&mut events), Ok(spool::MAX_QUEUED_EVENTS as u64 + 1));
}

#[tokio::test]
async fn an_idle_writer_sums_up_and_leaves_a_short_log_that_starts_anew() {
    let state = tempfile::tempdir().unwrap();
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ThisHost).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    for batch in 0..400 {
        push_and_wait(&queue, &mut reports, entries(batch * 8..(batch + 1) * 8)).await;
    }
    let log = spool_path(state.path()).join("spool.db-wal");
    let bytes = log.metadata().unwrap().len();
    assert!(bytes < 6 * 1024 * 1024, "the log was never emptied: {bytes} bytes");

    let idle_by = Instant::now() + Duration::from_secs(5);
    let mut store = store::Store::open_to_read(&spool_path(state.path())).unwrap().unwrap();
    loop {
        let rolled = store.rolled().unwrap();
        let frames = store.checkpoint(store::Checkpoint::Noop).unwrap();
        if rolled == 3_200 && frames.written == frames.checkpointed {
            break;
        }
        assert!(Instant::now() < idle_by, "rolled {rolled}, {frames:?}");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(store.view(|view| store::meta(view, "undecodable")).unwrap(), Some(0));
    drop(writer);
}

#[test]
fn two_starts_never_share_a_directory() {
    let state = tempfile::tempdir().unwrap();
    let first = SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    let second = SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    assert_ne!(first.path(), second.path());
    assert_ne!(first.id(), second.id());
    for found in directory::list(state.path()).unwrap() {
        assert!(SpoolDirectory::adopt(state.path(), &found).unwrap().is_none(), "its owner lives");
    }
    let found = directory::list(state.path()).unwrap();
    drop(first);
    let left = found.iter().find(|found| found.id != second.id()).unwrap();
    assert_eq!(tend_when_free(state.path(), left, NOON, &AtomicBool::new(false)), Tended::Removed);
    assert_eq!(directory::list(state.path()).unwrap().len(), 1);
}

#[tokio::test]
async fn the_spool_of_an_ended_process_is_kept_while_it_holds_anything_and_removed_after() {
    let state = tempfile::tempdir().unwrap();
    // One that never stored anything, one that did, and one whose process still lives.
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ThisHost).unwrap();
    let empty = directory::list(state.path()).unwrap()[0].clone();
    writer.close().unwrap();
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ThisHost).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    push_and_wait(&queue, &mut reports, entries(0..5)).await;
    writer.close().unwrap();
    let full = directory::list(state.path()).unwrap().last().unwrap().clone();
    let _living = SpoolDirectory::claim(state.path(), Timestamp::MAX).unwrap();
    let living = directory::list(state.path()).unwrap().last().unwrap().clone();

    let stop = AtomicBool::new(false);
    let tend = |found, now| tend_when_free(state.path(), found, now, &stop);
    if empty.path.exists() {
        // Both starts look after what has ended, and may be the quicker.
        assert_eq!(tend(&empty, NOON), Tended::Removed);
    }
    assert!(!empty.path.exists());
    assert_eq!(tend(&full, NOON), Tended::Kept);
    assert_eq!(stored(&full.path).len(), 5);
    assert_eq!(orphans::tend(state.path(), &living, &clock_at(NOON), &stop).unwrap(), Tended::Held);

    assert_eq!(tend(&full, "2026-12-05T12:00:00Z"), Tended::Kept);
    assert_eq!(stored(&full.path).len(), 5, "events are kept for 30 days");
    assert_eq!(tend(&full, "2026-12-07T00:00:00Z"), Tended::Kept);
    assert_eq!(stored(&full.path).len(), 0, "sums outlive the events");
    assert_eq!(tend(&full, "2027-12-11T00:00:00Z"), Tended::Removed);
    assert!(!full.path.exists());
    assert!(living.path.exists());
    assert!(!stop.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_a_control_plane_has_not_acknowledged_is_never_deleted() {
    let state = tempfile::tempdir().unwrap();
    let directory = SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    let mut store = store::Store::create(directory.path()).unwrap();
    store.append(0, entries(0..1_000).iter()).unwrap();
    rollup::roll_up(&mut store).unwrap();
    let years_later = at("2031-01-01T00:00:00Z").as_millisecond();
    let acknowledge = |store: &mut store::Store, seq: i64| {
        store.transaction(|t| t.execute("insert or replace into meta values ('acked', ?1)", [seq])).unwrap();
    };
    acknowledge(&mut store, 999);
    while rollup::prune(&mut store, years_later).unwrap() {}
    assert_eq!(stored(directory.path()).len(), 1_000);
    acknowledge(&mut store, 1_000);
    while rollup::prune(&mut store, at("2026-11-12T23:59:00Z").as_millisecond()).unwrap() {}
    assert_eq!(stored(directory.path()).len(), 1_000, "acknowledged events are kept for 7 days");
    while rollup::prune(&mut store, at("2026-11-13T00:00:01Z").as_millisecond()).unwrap() {}
    assert_eq!(stored(directory.path()).len(), 0);
    assert_eq!(store.last_seq().unwrap(), 1_000, "numbers are never given twice");
}
