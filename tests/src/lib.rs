//! The harness of the whole-system tests.
//!
//! Each test has a world of its own: a gateway as a process of the real binary, an issuer and an engine as real
//! servers on free ports, a Redis where it needs one. Nothing is shared, so tests run side by side.
//!
//! The issuer and the engine are outside parties and therefore fakes, over real sockets. The engine writes raw bytes,
//! so that it can misbehave in every way that one on the network can.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a harness fails the test by panicking, and says aloud what it skips"
)]

pub mod client;
pub mod control_plane;
pub mod disk;
pub mod engine;
pub mod gateway;
pub mod issuer;
pub mod postgres;
pub mod redis;

pub use client::{Answer, Client};
pub use control_plane::ControlPlane;
pub use disk::Disk;
pub use engine::{Engine, Script};
pub use gateway::Gateway;
pub use issuer::Issuer;
pub use postgres::{Postgres, TestDatabase};
pub use redis::Redis;

use std::{net::TcpListener, time::Duration};

/// A port that is free now. Taken from the kernel's own range, so two tests do not get the same one at once.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Asks again and again until it is so.
pub async fn eventually<T>(what: &str, patience: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "after {patience:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
