//! A file that cannot be written is given up, and tried again with growing pauses.

use super::{State, Writer, upkeep::FRAMES_PER_CHECKPOINT};
use crate::usage::{
    spool::SpoolFault,
    store::{Store, StoreError},
};
use std::time::{Duration, Instant};

/// First pause before a repair is tried again; it doubles up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// A full disk that has room again is noticed within this.
const LAST_RETRY: Duration = Duration::from_secs(2);

impl Writer {
    /// Gives the file up until it is repaired.
    pub(super) fn fail(&mut self, error: &StoreError) -> SpoolFault {
        let fault = error.fault();
        tracing::error!(error = %error, "usage events are not stored");
        self.shared.set_fault(Some(fault));
        self.state = State::Failed { fault, retry_at: Instant::now() + FIRST_RETRY, pause: FIRST_RETRY };
        fault
    }

    /// Returns whether the spool was repaired.
    pub(super) fn repair_if_due(&mut self) -> bool {
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
}
