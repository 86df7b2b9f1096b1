//! Between the cores and the writer thread: each core has a lane, with events one way and reports the other.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread::Thread,
};
use tokio::sync::Notify;

/// Most events that wait in one lane. At the 20,000 events/s that one core can at most cause, that is the 800 ms
/// that a disk may stall before the answers that wait for these events have passed their own second.
pub(crate) const MAX_QUEUED_EVENTS: usize = 16_384;

/// Most bytes that wait in one lane: the above at twice the mean of 481 bytes measured for an event.
pub(crate) const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// One event, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When the request was admitted, in milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// A `v1::UsageEvent`.
    pub(crate) body: Vec<u8>,
}

/// What became of the events that a core pushed after those of the report before, up to number `up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) up_to: u64,
    pub(crate) result: Result<(), SpoolFault>,
}

/// Why events are not known to be durable.
///
/// They may be pushed again: what a failed commit left in the file is taken out before the spool takes anything more.
/// Only when the process dies before that, or the writer does (`Gone`), may such events be there after all; then their
/// event id is what tells a second copy from a second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpoolFault {
    #[error("the disk of the usage spool is full")]
    DiskFull,
    #[error("the usage spool cannot be written")]
    Io,
    /// Until the next start, which makes a new spool.
    #[error("the usage spool is damaged")]
    Damaged,
    /// Who waited for its event has given up. The writer still waits for the disk, and may be told yet that all is well.
    #[error("the disk of the usage spool does not answer")]
    Stalled,
    /// The last report of a lane.
    #[error("the usage spool's writer has ended")]
    Gone,
}

/// Why [`CoreQueue::push`] left events where they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PushError {
    /// The lane took the first of them, up to number `pushed`.
    #[error("the usage spool's queue is full")]
    Full { pushed: u64 },
    #[error("the usage spool's writer has ended")]
    Gone,
}

/// What the spool did since the start of the process, and how it fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpoolStats {
    /// Events made durable.
    pub(crate) stored: u64,
    /// Events answered with a fault.
    pub(crate) refused: u64,
    pub(crate) commits: u64,
    /// Number of the last durable event.
    pub(crate) last_seq: i64,
    /// `None` while the spool takes events.
    pub(crate) fault: Option<SpoolFault>,
}

/// The way to the writer, for all cores.
#[derive(Debug, Clone)]
pub(crate) struct SpoolHandle(Arc<Shared>);

/// A core's way to push events.
#[derive(Debug)]
pub(crate) struct CoreQueue {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
}

/// A core's way to hear what became of its events.
#[derive(Debug)]
pub(crate) struct CoreReports {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    lanes: Mutex<Vec<Arc<Lane>>>,
    writer: OnceLock<Thread>,
    /// The writer sleeps, or is about to and will look at the lanes once more before.
    sleeping: AtomicBool,
    closing: AtomicBool,
    gone: AtomicBool,
    stored: AtomicU64,
    refused: AtomicU64,
    commits: AtomicU64,
    last_seq: AtomicI64,
    /// Number of the last event that the control plane has; the writer keeps it in the file.
    acknowledged: AtomicI64,
    fault: Mutex<Option<SpoolFault>>,
    stalled: AtomicBool,
}

#[derive(Debug, Default)]
struct Lane {
    queue: Mutex<Queue>,
    reports: Mutex<VecDeque<Report>>,
    reported: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    bytes: usize,
    /// Since the lane was made.
    pushed: u64,
    /// The writer has ended.
    gone: bool,
    /// The core has ended.
    detached: bool,
}

/// What one lane had gathered.
#[derive(Debug)]
pub(super) struct Gathered {
    lane: Arc<Lane>,
    pub(super) entries: Vec<Entry>,
    up_to: u64,
}

/// Tells all lanes when the writer ends, by a panic too.
#[derive(Debug)]
pub(super) struct Ending(pub(super) Arc<Shared>);

// === impl SpoolHandle ===

impl SpoolHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Makes a lane for a core. Dropping both ends gives it back, after what was pushed is stored.
    pub(crate) fn attach_core(&self) -> (CoreQueue, CoreReports) {
        let lane = Arc::new(Lane::default());
        let mut lanes = self.0.lanes.lock();
        if self.0.gone.load(Ordering::Acquire) {
            lane.end();
        }
        lanes.push(Arc::clone(&lane));
        drop(lanes);
        let reports = CoreReports { lane: Arc::clone(&lane), shared: Arc::clone(&self.0) };
        (CoreQueue { lane, shared: Arc::clone(&self.0) }, reports)
    }

    /// Whether events can't be stored at the moment.
    pub(crate) fn is_out_of_order(&self) -> bool {
        self.0.fault().is_some()
    }

    /// Number of the last durable event; 0 before the first.
    pub(crate) fn last_seq(&self) -> i64 {
        self.0.last_seq.load(Ordering::Relaxed)
    }

    /// Number of the last event that the control plane has; 0 before the first.
    pub(crate) fn acknowledged(&self) -> i64 {
        self.0.acknowledged()
    }

    /// The control plane has all events up to this number. The writer keeps the number when it has time.
    pub(crate) fn acknowledge(&self, seq: i64) {
        self.0.acknowledged.fetch_max(seq, Ordering::Relaxed);
        self.0.wake_if_sleeping();
    }

    pub(crate) fn stats(&self) -> SpoolStats {
        let shared = &self.0;
        SpoolStats {
            stored: shared.stored.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            commits: shared.commits.load(Ordering::Relaxed),
            last_seq: shared.last_seq.load(Ordering::Relaxed),
            fault: shared.fault(),
        }
    }
}

// === impl CoreQueue ===

impl CoreQueue {
    /// Moves `events` to the writer and returns how many this core has pushed so far; the report whose `up_to` reaches
    /// that number decides over all of them. The writer is woken only when it sleeps: one that is busy takes
    /// everything when it comes back.
    ///
    /// # Errors
    ///
    /// What did not fit stays in `events`.
    pub(crate) fn push(&self, events: &mut Vec<Entry>) -> Result<u64, PushError> {
        let mut queue = self.lane.queue.lock();
        if queue.gone {
            return Err(PushError::Gone);
        }
        let mut bytes = queue.bytes;
        let room = MAX_QUEUED_EVENTS.saturating_sub(queue.entries.len());
        let fitting = events
            .iter()
            .take(room)
            .take_while(|entry| {
                bytes += entry.body.len();
                bytes <= MAX_QUEUED_BYTES
            })
            .count();
        for entry in events.drain(..fitting) {
            queue.bytes += entry.body.len();
            queue.entries.push(entry);
        }
        queue.pushed += fitting as u64;
        let pushed = queue.pushed;
        drop(queue);
        self.shared.wake_if_sleeping();
        if events.is_empty() { Ok(pushed) } else { Err(PushError::Full { pushed }) }
    }
}

impl Drop for CoreQueue {
    fn drop(&mut self) {
        self.lane.queue.lock().detached = true;
    }
}

// === impl CoreReports ===

impl CoreReports {
    /// Tells all cores whether the writer has been silent for longer than anyone waits.
    pub(crate) fn stalled(&self, is_stalled: bool) {
        self.shared.stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// The next report, once there is one; reports are in the order of the pushes. May be dropped and called anew.
    /// After the report of [`SpoolFault::Gone`] there is none.
    pub(crate) async fn next(&mut self) -> Report {
        loop {
            if let Some(report) = self.lane.reports.lock().pop_front() {
                return report;
            }
            self.lane.reported.notified().await;
        }
    }
}

// === impl Shared ===

impl Shared {
    /// To be called by the writer's thread before anything else.
    pub(super) fn writer_is_this_thread(&self) {
        // A second writer would be a fault of the program; the first one stays.
        let _ = self.writer.set(std::thread::current());
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.sleeping.store(false, Ordering::SeqCst);
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// From now on a push wakes the writer. It must look at the lanes once more before it parks.
    pub(super) fn about_to_sleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
    }

    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    fn wake_if_sleeping(&self) {
        if self.sleeping.load(Ordering::SeqCst)
            && self.sleeping.swap(false, Ordering::SeqCst)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }

    /// Everything that waits, lane by lane; lanes whose core has ended are let go.
    pub(super) fn gather(&self) -> Vec<Gathered> {
        let mut gathered = Vec::new();
        self.lanes.lock().retain(|lane| {
            let mut queue = lane.queue.lock();
            if !queue.entries.is_empty() {
                queue.bytes = 0;
                let entries = mem::take(&mut queue.entries);
                gathered.push(Gathered { lane: Arc::clone(lane), entries, up_to: queue.pushed });
            }
            !queue.detached
        });
        gathered
    }

    pub(super) fn count_stored(&self, events: u64, last_seq: i64) {
        self.stored.fetch_add(events, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.last_seq.store(last_seq, Ordering::Relaxed);
    }

    pub(super) fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn count_refused(&self, events: u64) {
        self.refused.fetch_add(events, Ordering::Relaxed);
    }

    fn fault(&self) -> Option<SpoolFault> {
        let is_stalled = self.stalled.load(Ordering::Relaxed);
        self.fault.lock().or(is_stalled.then_some(SpoolFault::Stalled))
    }

    pub(super) fn set_fault(&self, fault: Option<SpoolFault>) {
        *self.fault.lock() = fault;
    }
}

// === impl Lane ===

impl Lane {
    fn report(&self, report: Report) {
        let mut reports = self.reports.lock();
        match reports.back_mut() {
            // A core that is slow to listen finds one report for all that had the same end.
            Some(last) if last.result == report.result => last.up_to = report.up_to,
            _ => reports.push_back(report),
        }
        drop(reports);
        self.reported.notify_one();
    }

    fn end(&self) {
        let mut queue = self.queue.lock();
        queue.gone = true;
        queue.entries.clear();
        let up_to = queue.pushed;
        drop(queue);
        self.report(Report { up_to, result: Err(SpoolFault::Gone) });
    }
}

// === impl Gathered ===

impl Gathered {
    pub(super) fn answer(self, result: Result<(), SpoolFault>) {
        self.lane.report(Report { up_to: self.up_to, result });
    }
}

// === impl Ending ===

impl Drop for Ending {
    fn drop(&mut self) {
        let lanes = self.0.lanes.lock();
        self.0.gone.store(true, Ordering::Release);
        self.0.set_fault(Some(SpoolFault::Gone));
        for lane in lanes.iter() {
            lane.end();
        }
    }
}
