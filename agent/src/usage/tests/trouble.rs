//! Full disks, broken files, and tools that hold a lock.

use super::*;
use crate::usage::store::{Checkpoint, Store, StoreError};
use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A file system of a few megabytes; needs the right to mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left over shows in the mount table; there is nothing to do about it here.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_at_once_and_the_spool_goes_on_when_there_is_room() {
    let mount_point = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(mount_point.path()) else {
        eprintln!("SKIPPED: a small disk cannot be mounted here, so a full one is not tested");
        return;
    };
    let state = disk.0.join("state");
    let writer = SpoolWriter::start(&state, Clock::System, Destination::ThisHost).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for round in 0..3 {
        if push_and_wait(&queue, &mut reports, entries(number..number + 1)).await == [Ok(())] {
            acknowledged.push(number);
        } else {
            assert!(round > 0, "the disk has room at first");
        }
        number += 1;
        // Somebody else fills the disk, to the last byte.
        let mut hog = fs::File::create(disk.0.join("hog")).unwrap();
        while hog.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
        let mut faults = 0;
        while faults < 5 {
            let before = Instant::now();
            match push_and_wait(&queue, &mut reports, entries(number..number + 1)).await[..] {
                [Ok(())] => acknowledged.push(number),
                [Err(SpoolFault::DiskFull | SpoolFault::Io)] => faults += 1,
                ref other => panic!("{other:?}"),
            }
            number += 1;
            assert!(before.elapsed() < Duration::from_secs(1), "an error is answered at once");
        }
        assert!(writer.handle().stats().fault.is_some());

        // Its room is given back when it has no name and is not open.
        drop(hog);
        fs::remove_file(disk.0.join("hog")).unwrap();
        // Nobody pushes, and it heals.
        let deadline = Instant::now() + Duration::from_secs(5);
        while writer.handle().stats().fault.is_some() {
            assert!(Instant::now() < deadline, "it does not heal");
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(push_and_wait(&queue, &mut reports, entries(number..number + 1)).await, [Ok(())]);
        acknowledged.push(number);
        number += 1;
    }
    assert_eq!(stored(&spool_path(&state)), acknowledged);
    assert_eq!(writer.handle().stats().stored, acknowledged.len() as u64);
    writer.close().unwrap();
    assert_eq!(stored(&spool_path(&state)), acknowledged);
}

#[tokio::test]
async fn a_tool_that_holds_the_lock_causes_errors_and_no_loss() {
    let state = tempfile::tempdir().unwrap();
    let writer = SpoolWriter::start(state.path(), Clock::System, Destination::ThisHost).unwrap();
    let (queue, mut reports) = writer.handle().attach_core();
    assert_eq!(push_and_wait(&queue, &mut reports, entries(0..1)).await, [Ok(())]);
    let tool = Connection::open(spool_path(state.path()).join(store::FILE_NAME)).unwrap();
    tool.execute_batch("begin immediate").unwrap();
    assert_eq!(push_and_wait(&queue, &mut reports, entries(1..2)).await, [Err(SpoolFault::Io)]);
    tool.execute_batch("rollback").unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while push_and_wait(&queue, &mut reports, entries(1..2)).await != [Ok(())] {
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(tool);
    writer.close().unwrap();
    assert_eq!(stored(&spool_path(state.path())), [0, 1]);
}

#[test]
fn a_repair_takes_out_what_was_answered_with_an_error_and_empties_the_log() {
    let state = tempfile::tempdir().unwrap();
    let directory = SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    let mut store = Store::create(directory.path()).unwrap();
    store.append(0, entries(0..10).iter()).unwrap();
    // Stored, but the sync said no, so that nobody was told.
    store.append(10, entries(10..13).iter()).unwrap();
    drop(store);
    let mut store = Store::repair(directory.path(), 10).unwrap();
    assert_eq!(fs::metadata(directory.path().join("spool.db-wal")).unwrap().len(), 0);
    assert_eq!(store.last_seq().unwrap(), 10);
    store.append(10, entries(10..11).iter()).unwrap();
    assert_eq!(stored(directory.path()), (0..11).collect::<Vec<_>>());
}

#[test]
fn a_repair_waits_for_readers_because_the_log_may_hide_a_page_that_is_not_on_disk() {
    let state = tempfile::tempdir().unwrap();
    let directory = SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    let mut store = Store::create(directory.path()).unwrap();
    store.append(0, entries(0..10).iter()).unwrap();
    let reader = Connection::open(directory.path().join(store::FILE_NAME)).unwrap();
    reader.execute_batch("begin; select * from ev;").unwrap();
    store.append(10, entries(10..11).iter()).unwrap();
    drop(store);
    assert!(matches!(Store::repair(directory.path(), 11), Err(StoreError::HeldByReader { .. })));
    reader.execute_batch("rollback").unwrap();
    Store::repair(directory.path(), 11).unwrap();
}

#[test]
fn a_file_that_lost_an_acknowledged_event_is_given_up() {
    let state = tempfile::tempdir().unwrap();
    let directory = SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    let mut store = Store::create(directory.path()).unwrap();
    store.append(0, entries(0..10).iter()).unwrap();
    drop(store);
    let error = Store::repair(directory.path(), 11).unwrap_err();
    assert!(matches!(error, StoreError::Lost { acknowledged: 11, found: 10, .. }), "{error}");
    assert_eq!(error.fault(), SpoolFault::Damaged);
}

#[test]
fn a_commit_syncs_and_the_log_is_only_emptied_on_purpose() {
    let state = tempfile::tempdir().unwrap();
    let directory = SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    let mut store = Store::create(directory.path()).unwrap();
    let pragma = |store: &mut Store, name: &str| {
        store.view(|view| view.pragma_query_value(None, name, |row| row.get::<_, i64>(0))).unwrap()
    };
    // Once as made, and once as opened after a fault.
    for _ in 0..2 {
        assert_eq!(pragma(&mut store, "synchronous"), 2, "full");
        assert_eq!(pragma(&mut store, "wal_autocheckpoint"), 0);
        assert_eq!(pragma(&mut store, "page_size"), 4096);
        drop(store);
        store = Store::repair(directory.path(), 0).unwrap();
    }
    let mut last = 0;
    for number in 0..2_000 {
        last = store.append(last, entries(number..number + 1).iter()).unwrap();
    }
    let frames = store.checkpoint(Checkpoint::Noop).unwrap();
    assert!(frames.written > 2_000 && frames.checkpointed == 0, "{frames:?}");
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("file");
    fs::write(&file, "").unwrap();
    let error = SpoolWriter::start(&file, Clock::System, Destination::ThisHost).unwrap_err().to_string();
    assert!(error.contains(&*file.join("spool").to_string_lossy()), "{error}");
}
