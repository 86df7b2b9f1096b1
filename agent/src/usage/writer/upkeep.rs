//! What can wait until nobody pushes: acknowledgements, sums, pruning, checkpoints.

use super::{COMMITS_PER_UPKEEP, IDLE_AFTER, State, Writer};
use crate::usage::{
    rollup,
    spool::SpoolFault,
    store::{Checkpoint, Store, StoreError},
};
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

/// Frames in the log that make a checkpoint due: 4 MiB. A log that is emptied this early stays in place and is written
/// over, which measured cheaper than one that grows.
pub(super) const FRAMES_PER_CHECKPOINT: i64 = 1_000;

/// Pause between two rounds of deleting what is kept no longer; retention is counted in days.
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

impl Writer {
    /// One step of what can wait; `Continue` when there may be more to do now.
    pub(super) fn upkeep(&mut self, idle: bool) -> ControlFlow<()> {
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
    pub(super) fn wake_at(&self, idle: bool, quiet_since: Instant) -> Option<Instant> {
        match &self.state {
            State::Failed { fault: SpoolFault::Damaged, .. } => None,
            State::Failed { retry_at, .. } => Some(*retry_at),
            State::Open(_) if !idle => Some(quiet_since + IDLE_AFTER),
            State::Open(_) => Some(self.prune_at),
        }
    }

    pub(super) fn end(&mut self) -> Result<(), SpoolFault> {
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
