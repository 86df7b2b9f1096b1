//! Lines of JSON that cores write in passing: why a request was refused, and the access log.
//!
//! A core appends to a bounded buffer and goes on; a thread of the log's own takes the buffer every 50 ms. A disk or a
//! terminal that stands still costs lines, which are counted and told in a later line, and never a request.

mod find;
mod sink;

pub(crate) use find::find;

use crate::clock::Clock;
use parking_lot::Mutex;
use serde::Serialize;
use sink::{RotatingFile, Sink};
use std::{
    fs::File,
    io, mem,
    os::fd::AsFd as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// How often the thread looks: twenty wake-ups a second instead of one for each request, and a line is on disk before
/// a person has copied its request id.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// Most bytes that wait: 400 ms of lines of 500 bytes at the 20,000 requests/s that a machine may refuse. As much again
/// may be on its way to the sink.
const MAX_BUFFERED_BYTES: usize = 4 * 1024 * 1024;

/// Longest line; a subject, claims and reasons together are far below.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How long the end of the process waits for a sink that does not move.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// A log that many cores write and one thread carries away. Clones write to the same log.
#[derive(Debug, Clone)]
pub(crate) struct DecisionLog(Arc<Shared>);

/// Ends the log's thread, after what was written has been carried away.
#[derive(Debug)]
pub(crate) struct LogCloser {
    shared: Arc<Shared>,
    thread: thread::Thread,
    /// Disconnected when the thread has ended.
    ended: mpsc::Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    lines: Mutex<Vec<u8>>,
    /// Since the last line that told of them.
    untold: AtomicU64,
    dropped: AtomicU64,
    closing: AtomicBool,
}

/// The line that tells of lines that are missing.
#[derive(Serialize)]
struct Gap {
    at: jiff::Timestamp,
    dropped_lines: u64,
}

impl DecisionLog {
    /// The log of refusals that `explain` searches, in `<state>/decisions`.
    ///
    /// # Errors
    ///
    /// When the directory or its file cannot be made, or a thread cannot be started.
    pub(crate) fn to_state(state: &Path, clock: Clock) -> io::Result<(Self, LogCloser)> {
        Self::start("decisions", Sink::Rotating(RotatingFile::open(state)?), clock)
    }

    /// The access log.
    pub(crate) fn to_stdout(clock: Clock) -> io::Result<(Self, LogCloser)> {
        // An own descriptor: std's handle has a lock that a blocked write would hold against everybody.
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Self::to_stream("access-log", stdout, clock)
    }

    /// Adds a line. Never waits for the sink; what does not fit is counted.
    pub(crate) fn write(&self, line: &impl Serialize) {
        let mut bytes = Vec::with_capacity(512);
        let fits = serde_json::to_writer(&mut bytes, line).is_ok() && bytes.len() < MAX_LINE_BYTES;
        bytes.push(b'\n');
        if fits {
            let mut lines = self.0.lines.lock();
            if lines.len() + bytes.len() <= MAX_BUFFERED_BYTES {
                lines.extend_from_slice(&bytes);
                return;
            }
        }
        self.0.count_dropped(1);
    }

    /// Lines dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn to_stream(name: &str, stream: File, clock: Clock) -> io::Result<(Self, LogCloser)> {
        Self::start(name, Sink::Stream(stream), clock)
    }

    fn start(name: &str, mut sink: Sink, clock: Clock) -> io::Result<(Self, LogCloser)> {
        let shared = Arc::new(Shared {
            lines: Mutex::new(Vec::new()),
            untold: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        let (alive, ended) = mpsc::channel::<()>();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _alive = alive;
            let mut spare = Vec::new();
            loop {
                let last = of_thread.closing.load(Ordering::SeqCst);
                spare = of_thread.sweep(spare, &mut sink, &clock);
                if last {
                    return;
                }
                thread::park_timeout(SWEEP_EVERY);
            }
        })?;
        let closer = LogCloser { shared: Arc::clone(&shared), thread: thread.thread().clone(), ended };
        Ok((Self(shared), closer))
    }
}

impl LogCloser {
    /// Carries away what was written; gives up on a sink that does not move for two seconds. Returns whether all lines
    /// arrived or were told as dropped.
    pub(crate) fn close(self) -> bool {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.thread.unpark();
        matches!(self.ended.recv_timeout(CLOSE_WAIT), Err(mpsc::RecvTimeoutError::Disconnected))
    }
}

impl Shared {
    fn count_dropped(&self, lines: u64) {
        self.untold.fetch_add(lines, Ordering::Relaxed);
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// Carries away what waits, and returns the emptied buffer for the next time.
    fn sweep(&self, spare: Vec<u8>, sink: &mut Sink, clock: &Clock) -> Vec<u8> {
        let mut lines = mem::replace(&mut *self.lines.lock(), spare);
        let untold = self.untold.swap(0, Ordering::Relaxed);
        if untold > 0 {
            let gap = Gap { at: clock.now(), dropped_lines: untold };
            // Two numbers and a time have a JSON form, and a vector takes any bytes.
            if serde_json::to_writer(&mut lines, &gap).is_ok() {
                lines.push(b'\n');
            }
        }
        if !lines.is_empty()
            && let Err((error, unwritten)) = sink.write(&lines)
        {
            let lost = memchr::memchr_iter(b'\n', lines.get(unwritten..).unwrap_or_default()).count();
            // The line that told of a gap may be among the lost; then it is told again.
            self.untold.fetch_add(untold, Ordering::Relaxed);
            self.count_dropped((lost as u64).saturating_sub(u64::from(untold > 0)));
            tracing::warn!(error = %error, lines = lost, "log lines are lost");
        }
        lines.clear();
        lines
    }
}

#[cfg(test)]
mod tests;
