//! The wall clock, as a value: what depends on the time of day takes a [`Clock`], so that tests can move it.
//! Durations are measured with monotonic instants and never with this.

use jiff::Timestamp;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

#[derive(Debug, Clone)]
pub enum Clock {
    System,
    /// Milliseconds since the Unix epoch, moved by whoever holds the other end.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the clock that all others take")]
            Self::System => Timestamp::now(),
            Self::Manual(milliseconds) => {
                Timestamp::from_millisecond(milliseconds.load(Ordering::Relaxed)).unwrap_or_default()
            }
        }
    }
}
