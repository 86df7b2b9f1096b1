//! One answer in the making: what it costs is counted while it is made, and it is over when this is dropped.

use super::{Engine, model::Answer};
use crate::clock;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;

pub(super) struct Job {
    pub(super) engine: Arc<Engine>,
    /// Distinguishes answers in ids; counts from 1.
    pub(super) number: u64,
    started: Instant,
}

impl Job {
    pub(super) fn start(engine: Arc<Engine>) -> Self {
        let number = engine.note_request();
        engine.running.fetch_add(1, Ordering::Relaxed);
        Self { engine, number, started: Instant::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn count_token(&self) {
        self.engine.generated.fetch_add(1, Ordering::Relaxed);
    }

    /// Generates the whole answer for a client that does not stream.
    pub(super) async fn run(&self, answer: &Answer) {
        for _ in &answer.tokens {
            if !self.engine.token_time.is_zero() {
                sleep(self.engine.token_time).await;
            }
            self.count_token();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.engine.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Marks the model as in use; gives the number of the request.
    pub(super) fn note_request(&self) -> u64 {
        self.last_used.store(clock::now().as_second(), Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }
}
