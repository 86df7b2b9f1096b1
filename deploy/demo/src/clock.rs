//! The time of day, in one place.

use jiff::Timestamp;

#[expect(clippy::disallowed_methods, reason = "a demo stamps real time, and no test of it moves the clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
