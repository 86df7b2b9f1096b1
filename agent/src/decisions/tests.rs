use super::{
    sink::{CURRENT, PREVIOUS, ROTATE_AT_BYTES},
    *,
};
use serde_json::json;
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::fd::OwnedFd,
    sync::atomic::AtomicI64,
    time::Instant,
};

fn clock() -> Clock {
    Clock::Manual(Arc::new(AtomicI64::new(1_793_880_000_000)))
}

fn reasons(state: &Path, request_id: &str) -> Vec<String> {
    find(state, request_id)
        .unwrap()
        .iter()
        .map(|decision| decision["reason"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_refusal_is_found_by_its_request_id_within_a_moment() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(reasons(state.path(), "req-7"), [""; 0]);
    let (log, closer) = DecisionLog::to_state(state.path(), clock()).unwrap();
    for number in 0..10 {
        log.write(&json!({"request_id": format!("req-{number}"), "reason": format!("because {number}")}));
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while reasons(state.path(), "req-7") != ["because 7"] {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
    log.write(&json!({"request_id": "req-7", "reason": "once more"}));
    assert!(closer.close());
    assert_eq!(reasons(state.path(), "req-7"), ["once more", "because 7"]);
    assert_eq!(reasons(state.path(), "req"), [""; 0]);
}

#[test]
fn a_long_log_keeps_two_files_and_the_newest_is_found_first() {
    let state = tempfile::tempdir().unwrap();
    let reason = "x".repeat(1_000);
    let mut turn = 0;
    let size =
        |name: &str| fs::metadata(state.path().join("decisions").join(name)).map_or(0, |meta| meta.len());
    // Three fillings, so that the first is gone.
    while turn < 3 * (ROTATE_AT_BYTES / 1_000_000) {
        let (log, closer) = DecisionLog::to_state(state.path(), clock()).unwrap();
        for _ in 0..1_000 {
            log.write(&json!({"request_id": format!("turn-{turn}"), "reason": reason}));
        }
        assert!(closer.close());
        turn += 1;
    }
    let limit = ROTATE_AT_BYTES + 2 * 1024 * 1024;
    assert!((ROTATE_AT_BYTES..limit).contains(&size(PREVIOUS)), "{}", size(PREVIOUS));
    assert!((1..limit).contains(&size(CURRENT)), "{}", size(CURRENT));
    assert_eq!(fs::read_dir(state.path().join("decisions")).unwrap().count(), 2);
    assert_eq!(find(state.path(), "turn-0").unwrap().len(), 0);
    assert_eq!(find(state.path(), "turn-23").unwrap().len(), 100);
    assert_eq!(find(state.path(), "turn-10").unwrap().len(), 100, "the file that was put away is searched");
}

#[test]
fn two_gateways_on_one_state_do_not_put_each_others_file_away() {
    let state = tempfile::tempdir().unwrap();
    let (first, first_closer) = DecisionLog::to_state(state.path(), clock()).unwrap();
    let (second, second_closer) = DecisionLog::to_state(state.path(), clock()).unwrap();
    let current = state.path().join("decisions").join(CURRENT);
    fs::OpenOptions::new()
        .append(true)
        .open(&current)
        .unwrap()
        .write_all(&vec![b'\n'; ROTATE_AT_BYTES as usize])
        .unwrap();
    first.write(&json!({"request_id": "a", "reason": "one"}));
    assert!(first_closer.close());
    second.write(&json!({"request_id": "a", "reason": "two"}));
    assert!(second_closer.close());
    assert_eq!(reasons(state.path(), "a"), ["two", "one"]);
    assert_eq!(fs::read_to_string(&current).unwrap().lines().count(), 2);
}

#[test]
fn a_line_that_a_crash_cut_does_not_spoil_the_next_one() {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir(state.path().join("decisions")).unwrap();
    let current = state.path().join("decisions").join(CURRENT);
    fs::write(&current, "{\"request_id\":\"a\",\"reason\":\"zero\"}\n{\"request_id\":\"a\",\"rea").unwrap();
    let (log, closer) = DecisionLog::to_state(state.path(), clock()).unwrap();
    log.write(&json!({"request_id": "a", "reason": "one"}));
    assert!(closer.close());
    assert_eq!(reasons(state.path(), "a"), ["one", "zero"]);
}

#[test]
fn a_reader_that_stands_still_costs_lines_that_are_counted_and_never_a_wait() {
    let (reader, pipe) = io::pipe().unwrap();
    let (log, closer) = DecisionLog::to_stream("test", File::from(OwnedFd::from(pipe)), clock()).unwrap();
    let line = json!({"filler": "x".repeat(1_000)});
    let lines = 12_000_u64;
    let started = Instant::now();
    for _ in 0..lines {
        log.write(&line);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let dropped = log.dropped();
    assert!(dropped > 2_000, "{dropped} dropped of 12 MB, with room for 8");

    // The reader moves again: it gets what was kept, and a line that tells the rest.
    let reading = thread::spawn(move || {
        let (mut kept, mut told) = (0_u64, 0_u64);
        for line in BufReader::new(reader).lines() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            match line.get("dropped_lines") {
                Some(count) => told += count.as_u64().unwrap(),
                None => kept += 1,
            }
        }
        (kept, told)
    });
    log.write(&json!({"request_id": "too long", "reason": "x".repeat(MAX_LINE_BYTES)}));
    assert!(closer.close());
    assert_eq!(log.dropped(), dropped + 1);
    assert_eq!(reading.join().unwrap(), (lines - dropped, dropped + 1));
}

#[test]
fn the_end_of_the_process_does_not_wait_for_a_reader_that_never_comes() {
    let (_reader, pipe) = io::pipe().unwrap();
    let (log, closer) = DecisionLog::to_stream("test", File::from(OwnedFd::from(pipe)), clock()).unwrap();
    for _ in 0..200 {
        log.write(&json!({"filler": "x".repeat(1_000)}));
    }
    let started = Instant::now();
    assert!(!closer.close());
    assert!(started.elapsed() < CLOSE_WAIT * 2);
}

#[test]
fn lines_are_lost_and_counted_when_the_reader_has_gone() {
    let (reader, pipe) = io::pipe().unwrap();
    drop(reader);
    let (log, closer) = DecisionLog::to_stream("test", File::from(OwnedFd::from(pipe)), clock()).unwrap();
    for _ in 0..3 {
        log.write(&json!({"a": 1}));
    }
    assert!(closer.close());
    assert_eq!(log.dropped(), 3);
}

#[test]
fn a_state_directory_that_cannot_hold_the_log_is_named() {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("decisions"), "").unwrap();
    let error = DecisionLog::to_state(work.path(), clock()).unwrap_err().to_string();
    assert!(error.contains("decisions"), "{error}");
}
