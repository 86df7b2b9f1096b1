//! What needs a process that can be slowed down, failed and killed: this test binary, started once more.

use super::*;
use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

/// Names the state directory for the process below.
const STATE: &str = "SPOOL_CHILD_STATE";

/// Not a test: the process that the others start. It stores events one by one and says what it heard.
#[test]
#[ignore = "started by the tests of this file"]
fn a_process_that_stores_events_until_it_is_killed() {
    let Some(state) = env::var_os(STATE) else { return };
    let writer = SpoolWriter::start(Path::new(&state), Clock::System, Destination::ThisHost).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut out = std::io::stdout();
    runtime.block_on(async {
        let (queue, mut reports) = writer.handle().attach_core();
        // A failed event is pushed again until it is stored, as its core would.
        for number in 0.. {
            loop {
                let pushed_at = Instant::now();
                let result = push_and_wait(&queue, &mut reports, entries(number..number + 1)).await;
                let micros = pushed_at.elapsed().as_micros();
                let word = match result[..] {
                    [Ok(())] => "ok".to_owned(),
                    [Err(fault)] => format!("{fault:?}"),
                    _ => "several".to_owned(),
                };
                if writeln!(out, "heard {number} {word} {micros}").and_then(|()| out.flush()).is_err() {
                    return; // the parent has gone
                }
                if result == [Ok(())] {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
}

struct Storing {
    child: Child,
    heard: BufReader<ChildStdout>,
}

#[derive(Debug)]
struct Heard {
    number: u64,
    word: String,
    took: Duration,
}

impl Storing {
    fn start(state: &Path, environment: &[(&str, &Path)]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1"])
            .arg("usage::tests::process::a_process_that_stores_events_until_it_is_killed")
            .env(STATE, state)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let heard = BufReader::new(child.stdout.take().unwrap());
        Self { child, heard }
    }

    /// `None` once the process is dead and all it said was read.
    fn next(&mut self) -> Option<Heard> {
        loop {
            let mut line = String::new();
            if self.heard.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The first line comes behind the name of the test.
            let Some(said) = line.find("heard ").and_then(|start| line.get(start..)) else { continue };
            let mut words = said.split_whitespace().skip(1);
            // A line cut by the kill was not heard.
            if !line.ends_with('\n') {
                return None;
            }
            return Some(Heard {
                number: words.next().unwrap().parse().unwrap(),
                word: words.next().unwrap().to_owned(),
                took: Duration::from_micros(words.next().unwrap().parse().unwrap()),
            });
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap(); // SIGKILL
        self.child.wait().unwrap();
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build_shim(directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/shim/slow_sync.c");
    let library = directory.join("slow_sync.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(status.success());
    library
}

#[test]
fn a_report_never_comes_before_the_sync_has_ended() {
    let work = tempfile::tempdir().unwrap();
    let shim = build_shim(work.path());
    let state = work.path().join("state");
    let slow = [("LD_PRELOAD", &*shim), ("SLOW_SYNC_MS", Path::new("300"))];
    let mut storing = Storing::start(&state, &slow);
    for _ in 0..3 {
        let heard = storing.next().unwrap();
        assert_eq!(heard.word, "ok");
        assert!(heard.took >= Duration::from_millis(300), "{heard:?}");
    }
}

#[test]
fn a_commit_costs_one_sync_and_not_the_dear_one() {
    let work = tempfile::tempdir().unwrap();
    let shim = build_shim(work.path());
    let state = work.path().join("state");
    let count = work.path().join("count");
    let mut storing = Storing::start(&state, &[("LD_PRELOAD", &*shim), ("COUNT_SYNC_FILE", &*count)]);
    let mut commits = 0;
    while commits < 200 {
        commits += usize::from(storing.next().unwrap().word == "ok");
    }
    storing.kill();
    commits += std::iter::from_fn(|| storing.next()).count();
    let log = fs::read(&count).unwrap();
    let data = log.iter().filter(|call| **call == b'd').count();
    // Making the file takes a few, and so do the sums of each 1,000 events and a checkpoint.
    assert!((commits..=commits + commits / 100 + 20).contains(&data), "{data} syncs, {commits} commits");
    // The new directory, and the two above it.
    assert_eq!(log.len() - data, 3, "SQLite was built without HAVE_FDATASYNC");
}

#[test]
fn a_failed_sync_is_reported_and_the_spool_recovers_by_itself() {
    let work = tempfile::tempdir().unwrap();
    let shim = build_shim(work.path());
    let state = work.path().join("state");
    let fail = work.path().join("fail");
    let mut storing = Storing::start(&state, &[("LD_PRELOAD", &*shim), ("FAIL_SYNC_FILE", &*fail)]);
    let mut acknowledged = Vec::new();
    let mut faults = 0;
    for round in 0..3 {
        for _ in 0..20 {
            let heard = storing.next().unwrap();
            if heard.word == "ok" {
                acknowledged.push(heard.number);
            }
        }
        fs::write(&fail, "").unwrap();
        // Reports that were on their way may still be good ones.
        let mut failed = 0;
        let deadline = Instant::now() + Duration::from_secs(10);
        while failed < 5 {
            assert!(Instant::now() < deadline, "a failed sync is not reported");
            let heard = storing.next().unwrap();
            match &*heard.word {
                "ok" => acknowledged.push(heard.number),
                "Io" => failed += 1,
                word => panic!("round {round}: {word}"),
            }
        }
        faults += failed;
        fs::remove_file(&fail).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let heard = storing.next().unwrap();
            if heard.word == "ok" {
                acknowledged.push(heard.number);
                break;
            }
            assert!(Instant::now() < deadline, "it does not recover");
        }
    }
    storing.kill();
    while let Some(heard) = storing.next() {
        if heard.word == "ok" {
            acknowledged.push(heard.number);
        }
    }
    assert_eq!(faults, 15);
    let stored = stored(&spool_path(&state));
    assert_each_once(&acknowledged, &stored);
}

#[test]
fn nothing_reported_as_stored_is_lost_or_doubled_by_fifty_kills() {
    let started = Instant::now();
    let work = tempfile::tempdir().unwrap();
    let mut total = 0;
    for run in 0..50 {
        let state = work.path().join(run.to_string());
        let mut storing = Storing::start(&state, &[]);
        let first = storing.next().unwrap();
        assert_eq!(first.word, "ok");
        thread::sleep(Duration::from_micros(rand::random_range(0..40_000)));
        storing.kill();
        let mut acknowledged = vec![first.number];
        while let Some(heard) = storing.next() {
            assert_eq!(heard.word, "ok");
            acknowledged.push(heard.number);
        }
        total += acknowledged.len();
        assert_each_once(&acknowledged, &stored(&spool_path(&state)));
        // Whoever adopts it finds the same.
        let found = directory::list(&state).unwrap()[0].clone();
        assert_eq!(tend_when_free(&state, &found, NOON, &AtomicBool::new(false)), Tended::Kept);
        assert_each_once(&acknowledged, &stored(&found.path));
        fs::remove_dir_all(&state).unwrap();
    }
    println!("{total} events acknowledged before 50 kills, in {:?}", started.elapsed());
}

#[test]
fn a_living_process_keeps_its_directory_and_a_killed_one_leaves_it() {
    let state = tempfile::tempdir().unwrap();
    let mut storing = Storing::start(state.path(), &[]);
    storing.next().unwrap();
    let found = directory::list(state.path()).unwrap()[0].clone();
    assert!(SpoolDirectory::adopt(state.path(), &found).unwrap().is_none());
    storing.kill();
    assert_eq!(tend_when_free(state.path(), &found, NOON, &AtomicBool::new(false)), Tended::Kept);
}

#[test]
fn usage_is_read_while_another_process_writes() {
    let state = tempfile::tempdir().unwrap();
    let mut storing = Storing::start(state.path(), &[]);
    let mut before = 0;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let heard = storing.next().unwrap();
        assert_eq!(heard.word, "ok", "a reader must not hinder the writer");
        if !heard.number.is_multiple_of(20) {
            continue;
        }
        let answer = reading::answer(state.path(), &["--json"]);
        let requests = answer["total"]["requests"].as_u64().unwrap();
        assert!(requests > heard.number, "{requests} seen, {} heard", heard.number + 1);
        assert!(requests >= before);
        before = requests;
    }
    storing.kill();
    let mut rest = String::new();
    storing.heard.read_to_string(&mut rest).unwrap();
    assert!(before > 0);
}

/// Each acknowledged event is stored exactly once; at most the one that was on its way is stored beside them.
fn assert_each_once(acknowledged: &[u64], stored: &[u64]) {
    let expected: Vec<u64> = (0..acknowledged.len() as u64).collect();
    assert_eq!(acknowledged, expected);
    assert!(stored.len() <= acknowledged.len() + 1, "{} stored", stored.len());
    assert_eq!(stored.get(..acknowledged.len()), Some(acknowledged));
}
