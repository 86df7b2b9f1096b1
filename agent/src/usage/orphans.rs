//! Spools of processes that have ended: summed up, pruned, and removed when nothing is left in them.
//!
//! A spool is taken only for the time of the work on it, so any number may lie there, and a second gateway on the same
//! state, as during an upgrade, finds those that this one is done with.

use super::{
    directory::{self, DirectoryError, Found, SpoolDirectory},
    rollup,
    store::{self, Checkpoint, Store, StoreError},
};
use crate::clock::Clock;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Pause between two rounds: retention is counted in days, and a gateway that was replaced ends within the hour.
const ROUND_EVERY: Duration = Duration::from_secs(60 * 60);

/// The thread that makes the rounds; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct OrphanKeeper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What was done with a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tended {
    /// Its process lives, or another one is at work on it.
    Held,
    /// It has events or sums, and can be read and shipped.
    Kept,
    Removed,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum TendError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OrphanKeeper {
    pub(super) fn start(state: &Path, clock: Clock) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (state, stopped): (PathBuf, _) = (state.to_owned(), Arc::clone(&stop));
        let thread = thread::Builder::new().name("usage-orphans".to_owned()).spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                round(&state, &clock, &stopped);
                if !stopped.load(Ordering::SeqCst) {
                    thread::park_timeout(ROUND_EVERY);
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for OrphanKeeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in there has been reported by the panic hook, and nothing waits for the result.
            let _ = thread.join();
        }
    }
}

/// Looks after one spool, if its process has ended.
pub(super) fn tend(
    state: &Path,
    found: &Found,
    clock: &Clock,
    stop: &AtomicBool,
) -> Result<Tended, TendError> {
    let Some(directory) = SpoolDirectory::adopt(state, found)? else { return Ok(Tended::Held) };
    let Some(mut store) = open(directory.path())? else {
        directory.remove()?;
        return Ok(Tended::Removed);
    };
    // What its process left in the log may not have reached the disk, so it is copied out before it is counted.
    store.checkpoint(Checkpoint::Truncate)?;
    let last_seq = store.last_seq()?;
    while store.rolled()? < last_seq && !stop.load(Ordering::SeqCst) {
        let before = store.rolled()?;
        if rollup::roll_up(&mut store)? == before {
            break;
        }
    }
    while !stop.load(Ordering::SeqCst) && rollup::prune(&mut store, clock.now().as_millisecond())? {}
    store.checkpoint(Checkpoint::Truncate)?;
    if store.view(|transaction| rollup::is_spent(transaction))? {
        drop(store);
        directory.remove()?;
        return Ok(Tended::Removed);
    }
    Ok(Tended::Kept)
}

fn open(directory: &Path) -> Result<Option<Store>, StoreError> {
    if directory.join(store::FILE_NAME).exists() { Store::open(directory) } else { Ok(None) }
}

fn round(state: &Path, clock: &Clock, stop: &AtomicBool) {
    let found = match directory::list(state) {
        Ok(found) => found,
        Err(error) => return tracing::warn!(error = %error, "cannot look for spools of earlier starts"),
    };
    let (mut kept, mut removed) = (0_u32, 0_u32);
    for found in found {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        match tend(state, &found, clock, stop) {
            Ok(Tended::Held) => {}
            Ok(Tended::Kept) => kept += 1,
            Ok(Tended::Removed) => removed += 1,
            // It is left as it is, for a person or for the version that wrote it.
            Err(error) => tracing::warn!(error = %error, "a spool of an earlier start is left alone"),
        }
    }
    if kept + removed > 0 {
        tracing::info!(kept, removed, "looked after the usage spools of earlier starts");
    }
}
