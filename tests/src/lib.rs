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

pub mod checks;
pub mod client;
pub mod control_plane;
pub mod disk;
pub mod engine;
pub mod gateway;
pub mod issuer;
pub mod kept;
pub mod nginx;
pub mod person;
pub mod postgres;
pub mod provider;
pub mod redis;
pub mod signer;
pub mod wall_clock;

pub use client::{Answer, Client};
pub use control_plane::ControlPlane;
pub use disk::Disk;
pub use engine::{Engine, Script};
pub use gateway::Gateway;
pub use issuer::Issuer;
pub use kept::Kept;
pub use nginx::Nginx;
pub use person::Person;
pub use postgres::{Postgres, TestDatabase};
pub use provider::Provider;
pub use redis::Redis;
pub use signer::Signer;
pub use wall_clock::WallClock;

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// Whether a server that is not here fails its tests, which else pass and say that they were skipped: `tests/run` installs
/// what they need, so there nothing is to be missing unseen.
fn needs_servers() -> bool {
    std::env::var_os("ATTACH_TESTS_NEED_SERVERS").is_some()
}

/// Below the ports that the kernel gives to connections going out (32768 and up): between the moment that a test learns
/// of its port and the moment that a server takes it, none of the many connections of other tests can.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port that nobody has, and that this process gives to nobody else until it has gone through all of them. It begins
/// at a place of its own, so that two test runs rarely ask for the same ones.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id().wrapping_mul(389) % u32::from(PORTS.end - PORTS.start));
    let first = first.expect("less than the range");
    for _ in PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        let port = PORTS.start + (first + step) % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("loopback has no free port in {PORTS:?}")
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
