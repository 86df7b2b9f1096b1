//! The one thread that writes the spool.
//!
//! It takes all that waits, commits it in one transaction, and only then does anything else: answers, checkpoints,
//! sums up, prunes. After a fault it answers at once with that fault, and tries to repair the file with growing pauses,
//! so that a disk that was full heals by itself.

use super::{
    directory::{DirectoryError, SpoolDirectory},
    orphans::OrphanKeeper,
    rollup,
    spool::{Ending, Gathered, Shared, SpoolFault, SpoolHandle},
    store::{Checkpoint, Store, StoreError},
};
use crate::clock::Clock;
use std::{
    io,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Frames in the log that make a checkpoint due: 4 MiB. A log that is emptied this early stays in place and is written
/// over, which measured cheaper than one that grows.
const FRAMES_PER_CHECKPOINT: i64 = 1_000;

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

/// Pause between two rounds of deleting what is kept no longer; retention is counted in days.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

/// First pause before a repair is tried again; it doubles up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// A full disk that has room again is noticed within this.
const LAST_RETRY: Duration = Duration::from_secs(2);

/// How long the end of the process waits for the writer, which by then has an emptied queue and a log to copy. A sync
/// that hangs can't be told to stop.
const LAST_WORK: Duration = Duration::from_secs(10);

/// A thread can't be waited for with a deadline, so it is looked at: often, for it usually ends at once.
const FINISH_LOOK: Duration = Duration::from_millis(2);

/// Which control plane it is, as a spool keeps it: the first bytes of the SHA-256 of its authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuthorityMark(i64);

impl AuthorityMark {
    pub(crate) fn new(sha256: [u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256;
        Self(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    pub(super) fn kept(self) -> i64 {
        self.0
    }

    pub(super) fn from_kept(kept: i64) -> Self {
        Self(kept)
    }
}

/// What becomes of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// They stay here, for a month.
    ThisHost,
    /// They are kept until the control plane of this authority has them.
    ControlPlane(AuthorityMark),
}

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

    /// One step of what can wait; `Continue` when there may be more to do now.
    fn upkeep(&mut self, idle: bool) -> ControlFlow<()> {
        let State::Open(store) = &mut self.state else { return ControlFlow::Break(()) };
        // The queue is empty for a moment after most commits; a look at the log each time would cost as much as they do.
        if !idle && self.commits_since_upkeep < COMMITS_PER_UPKEEP {
            return ControlFlow::Break(());
        }
        self.commits_since_upkeep = 0;
        let acknowledged = self.shared.acknowledged();
        let step = if acknowledged > self.acknowledged {
            store.acknowledge(acknowledged).map(|()| {
                self.acknowledged = acknowledged;
                ControlFlow::Continue(())
            })
        } else if self.last_seq - self.rolled >= rollup::EVENTS_PER_STEP
            || idle && self.rolled < self.last_seq
        {
            rollup::roll_up(store).map(|rolled| {
                // Without progress there is nothing left to sum, whatever the numbers say.
                self.rolled = if rolled > self.rolled { rolled } else { self.last_seq };
                ControlFlow::Continue(())
            })
        } else if Instant::now() >= self.prune_at {
            rollup::prune(store, self.clock.now().as_millisecond()).map(|more| {
                if !more {
                    self.prune_at = Instant::now() + PRUNE_EVERY;
                }
                ControlFlow::Continue(())
            })
        } else {
            checkpoint(store, &mut self.frames, &mut self.checkpoint_at, idle)
        };
        step.unwrap_or_else(|error| {
            self.fail(&error);
            ControlFlow::Break(())
        })
    }

    /// When there is something to do although nobody pushes.
    fn wake_at(&self, idle: bool, quiet_since: Instant) -> Option<Instant> {
        match &self.state {
            State::Failed { fault: SpoolFault::Damaged, .. } => None,
            State::Failed { retry_at, .. } => Some(*retry_at),
            State::Open(_) if !idle => Some(quiet_since + IDLE_AFTER),
            State::Open(_) => Some(self.prune_at),
        }
    }

    /// Gives the file up until it is repaired.
    fn fail(&mut self, error: &StoreError) -> SpoolFault {
        let fault = error.fault();
        tracing::error!(error = %error, "usage events are not stored");
        self.shared.set_fault(Some(fault));
        self.state = State::Failed { fault, retry_at: Instant::now() + FIRST_RETRY, pause: FIRST_RETRY };
        fault
    }

    /// Returns whether the spool was repaired.
    fn repair_if_due(&mut self) -> bool {
        let State::Failed { fault, retry_at, pause } = &mut self.state else { return false };
        if *fault == SpoolFault::Damaged || Instant::now() < *retry_at {
            return false;
        }
        let repaired = Store::repair(self.directory.path(), self.last_seq)
            .and_then(|store| Ok((store.rolled()?, store)));
        match repaired {
            Ok((rolled, store)) => {
                tracing::info!("usage events are stored again");
                self.shared.set_fault(None);
                self.rolled = rolled;
                self.frames = 0;
                self.checkpoint_at = FRAMES_PER_CHECKPOINT;
                self.state = State::Open(store);
                true
            }
            Err(error) => {
                *fault = error.fault();
                *pause = (*pause * 2).min(LAST_RETRY);
                *retry_at = Instant::now() + *pause;
                if *fault == SpoolFault::Damaged {
                    tracing::error!(error = %error, "the usage spool is given up until the next start");
                }
                self.shared.set_fault(Some(*fault));
                false
            }
        }
    }

    fn end(&mut self) -> Result<(), SpoolFault> {
        match &self.state {
            State::Open(store) => match self.last_step(store) {
                // All is stored; the next start empties the log.
                Ok(()) | Err(StoreError::HeldByReader { .. }) => Ok(()),
                Err(error) => Err(self.fail(&error)),
            },
            State::Failed { fault, .. } => Err(*fault),
        }
    }

    fn last_step(&self, store: &Store) -> Result<(), StoreError> {
        let acknowledged = self.shared.acknowledged();
        if acknowledged > self.acknowledged {
            store.acknowledge(acknowledged)?;
        }
        store.checkpoint(Checkpoint::Truncate).map(drop)
    }
}

/// Copies the log into the main file when it is long enough, or when there is time.
fn checkpoint(
    store: &Store,
    frames: &mut i64,
    checkpoint_at: &mut i64,
    idle: bool,
) -> Result<ControlFlow<()>, StoreError> {
    let now = store.checkpoint(Checkpoint::Noop)?;
    let pending = now.written - now.checkpointed;
    // When idle, once for each length of the log: a reader may keep it from getting shorter.
    let due = now.written >= *checkpoint_at || idle && now.written != *frames;
    if pending <= 0 || !due {
        return Ok(ControlFlow::Break(()));
    }
    let after = store.checkpoint(Checkpoint::Passive)?;
    *frames = after.written;
    let left = after.written - after.checkpointed;
    // A log that is copied whole starts anew with the next commit.
    *checkpoint_at = if left == 0 { FRAMES_PER_CHECKPOINT } else { after.written + FRAMES_PER_CHECKPOINT };
    Ok(ControlFlow::Break(()))
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
