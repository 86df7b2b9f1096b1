//! Callers that are never quiet, each at a steady rate.

use attach_tests::{Gateway, Kept};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

/// What becomes of a caller's requests.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) took: Vec<Duration>,
    /// What else than 200 came.
    pub(super) refused: Vec<String>,
}

/// Stopped by [`Load::end`].
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Served>>,
}

impl Load {
    /// A caller for each of these, with the token that it gives for its next request.
    pub(super) fn start<T>(gateway: &Gateway, pace: Duration, callers: impl IntoIterator<Item = T>) -> Self
    where
        T: FnMut() -> String + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = callers.into_iter().map(|mut token| {
            let (stop, port) = (Arc::clone(&stop), gateway.port);
            tokio::spawn(async move {
                let mut connection = Kept::connect(port).await;
                let mut ticks = tokio::time::interval(pace);
                // One that was kept waiting does not catch up: the rate stays what it is.
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut served = Served::default();
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let token = token();
                    let asked = Instant::now();
                    let answer = connection.chat(&token).await;
                    served.took.push(asked.elapsed());
                    if answer.status != 200 {
                        served.refused.push(format!("{} {}", answer.status, answer.text()));
                    }
                }
                served
            })
        });
        Self { callers: callers.collect(), stop }
    }

    /// All together.
    pub(super) async fn end(self) -> Served {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Served::default();
        for caller in self.callers {
            let served = caller.await.expect("each request was answered");
            all.took.extend(served.took);
            all.refused.extend(served.refused);
        }
        all
    }
}

impl Served {
    /// How many, once it is sure that nobody was refused.
    pub(super) fn all_well(&self) -> usize {
        assert!(self.refused.is_empty(), "{} refused: {:?}", self.refused.len(), self.refused.first());
        assert!(!self.took.is_empty());
        self.took.len()
    }

    /// The time within which this share of the requests was answered.
    pub(super) fn within(&self, percent: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort();
        took[(took.len() * percent / 100).min(took.len() - 1)]
    }
}
