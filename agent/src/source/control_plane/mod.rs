//! The bundle from the control plane.
//!
//! One stream brings what changed; what it comes to is checked whole against the signed manifest (`good`) before anybody is
//! served by it, and kept on disk (`kept`), so that the next start needs no control plane. `stream` is the life of one
//! connection; what is here goes from one to the next.

mod end;
mod good;
mod health;
mod heartbeat;
mod host;
mod kept;
mod questions;
mod stream;

#[cfg(test)]
mod tests;

use super::SourceFault;
use crate::{
    backoff::Backoff,
    clock::Clock,
    control_plane::Standing,
    enrolment::{Link, folder},
    settings::Environment,
    snapshot::Snapshot,
};
use attach_proto::v1;
use end::End;
use good::Good;
pub(crate) use health::{Asked, Looks};
use health::{Health, Seen};
use host::Host;
use kept::Kept;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// Between two tries to connect: a control plane that restarts is found at once, and ten thousand gateways that lost it are
/// spread over half a minute.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A connection that held this long was a good one: the pauses start anew.
const LASTED: Duration = Duration::from_secs(10);

/// A gateway that was revoked asks now and then whether that was taken back.
const REVOKED_RETRY: std::ops::Range<f64> = 15.0..30.0;

/// Follows the stream of configuration.
pub(crate) struct ControlPlane {
    link: Link,
    host: Arc<Host>,
    kept: Arc<Kept>,
    clock: Clock,
    standing: Arc<Standing>,
    looks: Looks,
    /// The bundle that is served; `None` before the first, and once revoked.
    good: Option<Good>,
    /// The two sides do not mean the same by what this gateway holds: the next stream asks for everything.
    start_over: bool,
}

impl ControlPlane {
    /// # Errors
    ///
    /// What the host declares of its engines is wrong.
    pub(crate) fn new(
        link: Link,
        state: &Path,
        upstreams: Vec<v1::Upstream>,
        environment: Environment,
        clock: Clock,
        standing: Arc<Standing>,
        looks: Looks,
    ) -> Result<Self, SourceFault> {
        let host = Arc::new(Host::new(upstreams, environment)?);
        let kept = Arc::new(Kept::below(&folder(state)));
        Ok(Self { link, host, kept, clock, standing, looks, good: None, start_over: false })
    }

    /// A bundle by which nobody can call.
    pub(crate) fn nobody(&self) -> Snapshot {
        self.host.nobody()
    }

    /// The last good bundle of an earlier start, when there is one that can be trusted.
    pub(super) fn load(&mut self) -> Option<Snapshot> {
        let identity = self.link.identity();
        let loaded = self.kept.load(&identity).and_then(|good| {
            let Some(good) = good else { return Ok(None) };
            let snapshot = good.snapshot(&self.host).map_err(|refusal| self.kept.unusable(refusal))?;
            Ok(Some((good, snapshot)))
        });
        match loaded {
            Ok(Some((good, snapshot))) => {
                self.standing.note(|state| state.applied_revision = Some(good.revision().0));
                self.good = Some(good);
                Some(snapshot)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::error!("{error}; it is not served");
                None
            }
        }
    }

    pub(super) async fn follow(
        mut self,
        snapshots: watch::Sender<Arc<Snapshot>>,
        before: impl Fn(&Snapshot),
    ) {
        let health = Health::of(self.host.upstreams(), self.looks.clone());
        let seen = health.seen();
        tokio::select! {
            () = self.keep_following(&snapshots, &before, seen) => {}
            () = health.look_after() => {}
        }
    }

    async fn keep_following(
        &mut self,
        snapshots: &watch::Sender<Arc<Snapshot>>,
        before: &impl Fn(&Snapshot),
        seen: watch::Receiver<Seen>,
    ) {
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        while !snapshots.is_closed() {
            let begun = Instant::now();
            let end = self.follow_once(snapshots, before, seen.clone()).await;
            self.standing.note(|state| state.connected = false);
            if begun.elapsed() >= LASTED {
                backoff.reset();
            }
            let pause = match end {
                End::Renewed => continue,
                End::Revoked => {
                    self.stop_serving(snapshots, before).await;
                    Duration::from_secs_f64(rand::random_range(REVOKED_RETRY))
                }
                End::Broken(problem) => {
                    self.say_broken(problem);
                    backoff.next()
                }
            };
            sleep(pause).await;
        }
    }

    /// When the control plane is lost and when the reason is another one, not for each try; but nobody shall wonder why a
    /// gateway waits.
    fn say_broken(&self, problem: String) {
        let identity = self.link.identity();
        let problem = if self.clock.now() < identity.not_after {
            problem
        } else {
            format!(
                "its certificate ended at {}; move the enrolment away and join again with a new token ({problem})",
                identity.not_after
            )
        };
        let is_news = self.standing.look().problem.as_ref() != Some(&problem);
        if self.good.is_none() {
            tracing::warn!("no bundle yet, the gateway waits for its control plane: {problem}");
        } else if is_news {
            tracing::warn!("the control plane is away: {problem}; the last good bundle serves on");
        }
        self.standing.note(|state| state.problem = Some(problem));
    }

    async fn stop_serving(&mut self, snapshots: &watch::Sender<Arc<Snapshot>>, before: &impl Fn(&Snapshot)) {
        let nobody = self.nobody();
        before(&nobody);
        snapshots.send_replace(Arc::new(nobody));
        self.good = None;
        self.link.drop_connection();
        if !self.standing.look().revoked {
            tracing::error!(
                "THE CONTROL PLANE HAS REVOKED THIS GATEWAY: it serves nobody any more. To put it back to work, join \
                 again with a new token after moving the enrolment away"
            );
        }
        self.standing.note(|state| {
            state.revoked = true;
            state.applied_revision = None;
            state.problem = Some("the control plane has revoked this gateway".to_owned());
        });
        let kept = Arc::clone(&self.kept);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || kept.remove()).await {
            tracing::error!("{error}; remove it by hand, or a restart would serve by it");
        }
    }
}
