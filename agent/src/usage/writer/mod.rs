//! The one thread that writes the spool.
//!
//! It takes all that waits, commits it in one transaction, and only then does anything else: answers, checkpoints,
//! sums up, prunes. After a fault it answers at once with that fault, and tries to repair the file with growing pauses,
//! so that a disk that was full heals by itself.

mod repair;
mod upkeep;

use super::{
    destination::Destination,
    directory::{DirectoryError, SpoolDirectory},
    orphans::OrphanKeeper,
    spool::{Ending, Gathered, Shared, SpoolFault, SpoolHandle},
    store::{Store, StoreError},
};
use crate::clock::Clock;
use std::{
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use upkeep::{FRAMES_PER_CHECKPOINT, PRUNE_EVERY};
use uuid::Uuid;

/// With nothing to store for this long, what is left of checkpoint and sums is done, so that a quiet gateway leaves
/// a short log and whole sums behind.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Commits in a row after which one step of upkeep is done although more is waiting. At 300 µs a commit this is a step
/// of 1.2 ms in each 5 ms, and 200,000 events/s of summing.
const COMMITS_PER_UPKEEP: u32 = 16;

/// A commit of at least this many events tells of a busy gateway, where waiting a little makes the next one larger. So
/// does Postgres by `commit_siblings` and `commit_delay`.
const BUSY_COMMIT: usize = 4;

/// That wait. Much of a commit's cost does not grow with its events: transaction, locks, pages, sync. At about 18,000
/// events/s on one core commits had some ten events each without it. An answer on a gateway this busy waits a millisecond
/// more at most. Measured: twice as long saves no more CPU, for the core then waits for the commit with nothing to do.
const GATHER_FOR: Duration = Duration::from_millis(1);

/// How long the end of the process waits for the writer, which by then has an emptied queue and a log to copy. A sync
/// that hangs can't be told to stop.
const LAST_WORK: Duration = Duration::from_secs(10);

/// A thread can't be waited for with a deadline, so it is looked at: often, for it usually ends at once.
const FINISH_LOOK: Duration = Duration::from_millis(2);

/// Owns the writer thread, and the one that looks after the spools of earlier starts.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    shared: Arc<Shared>,
    id: Uuid,
    thread: Option<JoinHandle<Result<(), SpoolFault>>>,
    _orphans: OrphanKeeper,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

struct Writer {
    shared: Arc<Shared>,
    directory: SpoolDirectory,
    clock: Clock,
    state: State,
    /// Number of the last event that was answered as stored.
    last_seq: i64,
    rolled: i64,
    /// As it stands in the file.
    acknowledged: i64,
    /// Frames in the log at which the next checkpoint is due.
    checkpoint_at: i64,
    frames: i64,
    prune_at: Instant,
    commits_since_upkeep: u32,
    /// Events of the commit just before; 0 when there was none.
    last_commit: usize,
}

enum State {
    Open(Store),
    Failed { fault: SpoolFault, retry_at: Instant, pause: Duration },
}

// === impl SpoolWriter ===

impl SpoolWriter {
    /// Makes this start's spool below a state directory and takes over those of processes that have ended.
    pub(crate) fn start(state: &Path, clock: Clock, destination: Destination) -> Result<Self, StartError> {
        let directory = SpoolDirectory::claim(state, clock.now())?;
        let store = Store::create(directory.path())?;
        if let Destination::ControlPlane(authority) = destination {
            // Before the first event: nothing that a control plane has not seen is ever taken for a standalone one's, or sent
            // to another.
            store.belong_to(authority)?;
            store.acknowledge(0)?;
        }
        let id = directory.id();
        tracing::info!(spool.id = %directory.id(), spool.path = %directory.path().display(), "usage spool opened");
        let shared = Arc::new(Shared::default());
        let orphans = OrphanKeeper::start(state, clock.clone())?;
        let mut writer = Writer {
            shared: Arc::clone(&shared),
            directory,
            clock,
            state: State::Open(store),
            last_seq: 0,
            rolled: 0,
            acknowledged: 0,
            checkpoint_at: FRAMES_PER_CHECKPOINT,
            frames: 0,
            prune_at: Instant::now() + PRUNE_EVERY,
            commits_since_upkeep: 0,
            last_commit: 0,
        };
        let thread = spawn(&shared, move || writer.run())?;
        Ok(Self { shared, id, thread: Some(thread), _orphans: orphans })
    }

    /// Of this start's spool.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn handle(&self) -> SpoolHandle {
        SpoolHandle::new(Arc::clone(&self.shared))
    }

    /// Stores what was pushed, empties the log, and ends the thread.
    ///
    /// # Errors
    ///
    /// Why what was pushed last is not stored; its cores got the same report.
    pub(crate) fn close(mut self) -> Result<(), SpoolFault> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), SpoolFault> {
        self.shared.close();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let deadline = Instant::now() + LAST_WORK;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return Err(SpoolFault::Stalled);
            }
            thread::sleep(FINISH_LOOK);
        }
        thread.join().unwrap_or(Err(SpoolFault::Gone))
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.finish();
    }
}

fn spawn<T: Send + 'static>(
    shared: &Arc<Shared>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name("usage-spool".to_owned()).spawn(move || {
        shared.writer_is_this_thread();
        let _ending = Ending(shared);
        run()
    })
}

// === impl Writer ===

impl Writer {
    fn run(&mut self) -> Result<(), SpoolFault> {
        let mut quiet_since = Instant::now();
        loop {
            if std::mem::take(&mut self.last_commit) >= BUSY_COMMIT {
                thread::sleep(GATHER_FOR);
            }
            let gathered = self.shared.gather();
            if !gathered.is_empty() {
                self.store(gathered);
                quiet_since = Instant::now();
                if self.commits_since_upkeep >= COMMITS_PER_UPKEEP {
                    // One step, whether there is more to do or not: the cores come first.
                    let _ = self.upkeep(false);
                }
                continue;
            }
            if self.shared.is_closing() {
                // A push that came before its core saw the end is still taken.
                let last = self.shared.gather();
                return if last.is_empty() { self.end() } else { self.store_last(last) };
            }
            let idle = quiet_since.elapsed() >= IDLE_AFTER;
            if self.repair_if_due() || self.upkeep(idle).is_continue() {
                continue;
            }
            self.shared.about_to_sleep();
            let gathered = self.shared.gather();
            if gathered.is_empty() && !self.shared.is_closing() {
                match self.wake_at(idle, quiet_since) {
                    Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
                    None => thread::park(),
                }
            }
            self.shared.awake();
            if !gathered.is_empty() {
                self.store(gathered);
                quiet_since = Instant::now();
            }
        }
    }

    fn store_last(&mut self, gathered: Vec<Gathered>) -> Result<(), SpoolFault> {
        self.store(gathered);
        self.end()
    }

    fn store(&mut self, gathered: Vec<Gathered>) {
        self.repair_if_due();
        let events: usize = gathered.iter().map(|lane| lane.entries.len()).sum();
        let result = match &mut self.state {
            State::Open(store) => store
                .append(self.last_seq, gathered.iter().flat_map(|lane| &lane.entries))
                .map_err(|error| self.fail(&error)),
            State::Failed { fault, .. } => Err(*fault),
        };
        match result {
            Ok(last_seq) => {
                self.last_seq = last_seq;
                self.shared.count_stored(events as u64, last_seq);
            }
            Err(_) => self.shared.count_refused(events as u64),
        }
        for lane in gathered {
            lane.answer(result.map(|_| ()));
        }
        self.commits_since_upkeep += 1;
        self.last_commit = events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::spool::{Entry, PushError, Report};

    #[tokio::test]
    async fn a_core_hears_that_the_writer_died_of_a_panic() {
        let shared = Arc::new(Shared::default());
        let (queue, mut reports) = SpoolHandle::new(Arc::clone(&shared)).attach_core();
        queue.push(&mut vec![Entry { at_ms: 0, body: vec![1] }]).unwrap();
        let thread = spawn(&shared, || panic!("on purpose")).unwrap();
        assert_eq!(reports.next().await, Report { up_to: 1, result: Err(SpoolFault::Gone) });
        assert_eq!(queue.push(&mut vec![Entry { at_ms: 0, body: vec![1] }]), Err(PushError::Gone));
        assert!(thread.join().is_err());

        let (late, mut reports) = SpoolHandle::new(shared).attach_core();
        assert_eq!(reports.next().await.result, Err(SpoolFault::Gone));
        assert_eq!(late.push(&mut Vec::new()), Err(PushError::Gone));
    }
}
