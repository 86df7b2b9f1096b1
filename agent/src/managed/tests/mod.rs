//! A gateway's part of the contract, against a control plane that these tests play.

mod control_plane;
mod following;
mod reporting;

use super::*;
use crate::{
    dial::{Guard, tls_config},
    enrolment::tests::FIRST_SECOND,
    fetch::Fetcher,
    identify::Issuers,
    snapshot::Snapshot,
    usage::Destination,
};
use control_plane::{ControlPlane as Plane, Session};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};
use tokio::{runtime::Handle, sync::mpsc, time::Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A control plane, and a gateway's state folder that belongs to it.
struct World {
    plane: Plane,
    sessions: mpsc::Receiver<Session>,
    state: tempfile::TempDir,
    /// Milliseconds since the Unix epoch.
    time: Arc<AtomicI64>,
}

impl World {
    async fn new() -> Self {
        let (plane, sessions) = Plane::start().await;
        let state = tempfile::tempdir().unwrap();
        plane.authority.enrol_at(&plane.address, "main", "agent-1").store(state.path()).unwrap();
        Self { plane, sessions, state, time: Arc::new(AtomicI64::new(FIRST_SECOND * 1_000)) }
    }

    fn managed(&self) -> Managed {
        Managed::load(self.state.path(), Clock::Manual(Arc::clone(&self.time))).unwrap()
    }

    fn looks(&self) -> Looks {
        let clock = Clock::Manual(Arc::clone(&self.time));
        let fetcher = Fetcher::new(tls_config(), Guard::Operator);
        let issuers = Issuers::new(Handle::current(), self.state.path(), clock, fetcher);
        // Nobody answers here: who asks is told so.
        let (questions, _) = mpsc::channel(1);
        Looks { engine_tls: tls_config(), issuers: Arc::new(issuers), questions }
    }

    async fn session(&mut self) -> Session {
        timeout(PATIENCE, self.sessions.recv()).await.expect("a stream in time").unwrap()
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
