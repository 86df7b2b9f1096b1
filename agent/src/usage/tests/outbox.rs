//! What a control plane is sent, and what is kept of how far it came.

use super::*;
use crate::usage::{Batch, Outbox, OutboxError, Outgoing};

fn acknowledged(spool: &Path) -> Option<i64> {
    let store = store::Store::open(spool).unwrap().unwrap();
    store.acknowledged().unwrap()
}

/// The control plane that all is for.
fn plane() -> AuthorityMark {
    AuthorityMark::new([1; 32])
}

/// A spool of a start that has ended, with these events.
async fn ended(state: &Path, events: Vec<Entry>, destination: Destination) -> directory::Found {
    let writer = SpoolWriter::start(state, Clock::System, destination).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    push_and_wait(&queue, &mut reports, events).await;
    let id = writer.id();
    writer.close().unwrap();
    directory::list(state).unwrap().into_iter().find(|found| found.id == id).unwrap()
}

/// A process that another test starts has copies of all our locks between its fork and its exec.
fn open_when_free(outbox: &mut Outbox, found: &directory::Found) -> Outgoing {
    for _ in 0..1_000 {
        if let Some(outgoing) = outbox.open(found).unwrap() {
            return outgoing;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody lets go of {}", found.path.display());
}

/// Of a start that has nothing of its own.
fn outbox(state: &Path) -> (Outbox, SpoolWriter) {
    let writer = SpoolWriter::start(state, Clock::System, Destination::ControlPlane(plane())).unwrap();
    (Outbox::new(state, writer.id(), writer.handle(), vec![plane()]), writer)
}

fn all_batches(outgoing: &mut Outgoing) -> Vec<Batch> {
    let mut after = 0;
    let mut batches = Vec::new();
    while let Some(batch) = outgoing.batch(after).unwrap() {
        assert_eq!(batch.first_seq, after + 1);
        after += batch.events.len() as u64;
        batches.push(batch);
    }
    batches
}

#[tokio::test]
async fn a_live_spool_is_sent_as_far_as_it_is_durable_and_its_writer_keeps_the_mark() {
    let state = tempfile::tempdir().unwrap();
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ControlPlane(plane())).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    let outbox = Outbox::new(state.path(), writer.id(), writer.handle(), vec![plane()]);
    let mut live = outbox.live().unwrap();
    assert_eq!(live.batch(0).unwrap(), None);
    let events = entries(0..2_500);
    push_and_wait(&queue, &mut reports, events.clone()).await;
    let batches = all_batches(&mut live);
    assert_eq!(batches.iter().map(|batch| batch.events.len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
    let bodies: Vec<_> = batches.iter().flat_map(|batch| &batch.events).collect();
    assert!(bodies.iter().zip(&events).all(|(sent, event)| **sent == event.body), "byte for byte");

    live.acknowledge(1_700).unwrap();
    live.acknowledge(900).unwrap();
    assert_eq!(live.acknowledged(), 1_700, "it never goes back");
    let path = spool_path(state.path());
    let deadline = Instant::now() + Duration::from_secs(10);
    while acknowledged(&path) != Some(1_700) {
        assert!(Instant::now() < deadline, "the writer keeps the mark when it has nothing else to do");
        thread::sleep(Duration::from_millis(20));
    }
    live.acknowledge(2_500).unwrap();
    drop(live);
    writer.close().unwrap();
    assert_eq!(acknowledged(&path), Some(2_500), "the last mark is kept at the end");
}

#[tokio::test]
async fn large_events_make_small_batches_and_one_always_goes() {
    let state = tempfile::tempdir().unwrap();
    let entry = |size: usize| Entry { at_ms: at(NOON).as_millisecond(), body: vec![7; size] };
    let sizes = [400 << 10, 400 << 10, 400 << 10, 3 << 20, 1, 2];
    let events = sizes.into_iter().map(entry).collect();
    let found = ended(state.path(), events, Destination::ControlPlane(plane())).await;
    let (mut outbox, _writer) = outbox(state.path());
    let mut outgoing = open_when_free(&mut outbox, &found);
    let counts: Vec<_> = all_batches(&mut outgoing).iter().map(|batch| batch.events.len()).collect();
    assert_eq!(counts, [2, 1, 1, 2]);
}

#[tokio::test]
async fn a_spool_of_an_earlier_start_is_sent_from_its_mark_until_nothing_is_left() {
    let state = tempfile::tempdir().unwrap();
    let found = ended(state.path(), entries(0..10), Destination::ControlPlane(plane())).await;
    let (mut first, writer) = outbox(state.path());
    assert_eq!(first.ended().unwrap(), std::slice::from_ref(&found));
    let mut outgoing = open_when_free(&mut first, &found);
    outgoing.acknowledge(6).unwrap();
    drop(outgoing);
    drop(writer);

    let (mut second, _writer) = outbox(state.path());
    let mut outgoing = open_when_free(&mut second, &found);
    assert_eq!((outgoing.acknowledged(), outgoing.last_seq()), (6, 10));
    let batch = outgoing.batch(6).unwrap().unwrap();
    assert_eq!((batch.spool, batch.first_seq, batch.events.len()), (found.id, 7, 4));
    outgoing.acknowledge(10).unwrap();
    assert_eq!(outgoing.batch(10).unwrap(), None);
    drop(outgoing);
    let deadline = Instant::now() + Duration::from_secs(10);
    while second.ended().unwrap().contains(&found) {
        assert!(second.open(&found).unwrap().is_none(), "there is nothing left to send");
        assert!(Instant::now() < deadline, "it is looked at no more");
    }
}

#[tokio::test]
async fn a_living_process_s_spool_is_left_to_it_and_a_standalone_one_is_nobody_s() {
    let state = tempfile::tempdir().unwrap();
    let standalone = ended(state.path(), entries(0..3), Destination::ThisHost).await;
    let living = SpoolWriter::start(state.path(), Clock::System, Destination::ControlPlane(plane())).unwrap();
    let (mut outbox, _writer) = outbox(state.path());
    for found in outbox.ended().unwrap() {
        assert!(outbox.open(&found).unwrap().is_none());
    }
    let left: Vec<_> = outbox.ended().unwrap().into_iter().map(|found| found.id).collect();
    assert!(left.contains(&living.id()), "it may end yet");
    assert_eq!(acknowledged(&standalone.path), None);
}

/// A tenant of the same name there would pay for it.
#[tokio::test]
async fn what_was_counted_for_one_control_plane_is_not_sent_to_another() {
    let state = tempfile::tempdir().unwrap();
    let before = AuthorityMark::new([2; 32]);
    let found = ended(state.path(), entries(0..3), Destination::ControlPlane(before)).await;
    let (mut outbox, _writer) = outbox(state.path());
    let deadline = Instant::now() + Duration::from_secs(10);
    while outbox.ended().unwrap().contains(&found) {
        assert!(outbox.open(&found).unwrap().is_none());
        assert!(Instant::now() < deadline, "it is looked at no more");
    }
    assert_eq!(acknowledged(&found.path), Some(0), "it is kept");
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ControlPlane(before)).unwrap();
    let back = vec![plane(), before];
    let mut back = Outbox::new(state.path(), writer.id(), writer.handle(), back);
    assert_eq!(all_batches(&mut open_when_free(&mut back, &found)).len(), 1);
}

#[tokio::test]
async fn events_that_are_not_there_any_more_are_told_by_number() {
    let state = tempfile::tempdir().unwrap();
    let found = ended(state.path(), entries(0..10), Destination::ControlPlane(plane())).await;
    let (mut outbox, _writer) = outbox(state.path());
    let mut outgoing = open_when_free(&mut outbox, &found);
    let file = Connection::open(found.path.join(store::FILE_NAME)).unwrap();
    file.execute("delete from ev where seq in (3, 4)", []).unwrap();
    assert_eq!(outgoing.batch(0).unwrap().unwrap().events.len(), 2, "up to the gap");
    assert!(matches!(outgoing.batch(2), Err(OutboxError::Missing(3))));
    assert_eq!(outgoing.batch(4).unwrap().unwrap().events.len(), 6);
}
