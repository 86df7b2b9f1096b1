//! Tests of deadlines, one at a time and beside no other: what they hold the gateway to is a promise about it, not about a
//! machine that runs other tests meanwhile. Cargo runs one binary of tests after another.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

mod overload;
mod quota_outage;

use tokio::sync::{Mutex, MutexGuard};

/// Held by the test that runs.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
