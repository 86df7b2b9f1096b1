//! Issuers whose keys the control plane fetches: they come with its bundle, and for a key that is not among them it is asked
//! to ask the issuer. So a gateway needs no way to such an issuer, and a rotation passes unnoticed all the same.

use super::{
    excerpt::Excerpt,
    issuer_keys::{IssuerKeys, RenewFault},
    source::Source,
};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use url::Url;

/// Questions that wait for the stream: as many as are asked in the five seconds in which somebody waits for the answer, ten
/// each second at most, with some room.
const MAX_QUESTIONS: usize = 64;

/// `Err` says why the issuer could not be asked; `Ok` comes when what it said is in force.
pub(crate) type Answer = Result<(), String>;

/// That an issuer should be asked anew.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) issuer: String,
    pub(crate) jwks_url: Option<Url>,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// From the issuers to whoever speaks with the control plane; nobody does at times.
#[derive(Debug, Default)]
pub(crate) struct KeyLine(Mutex<Option<mpsc::Sender<Question>>>);

impl KeyLine {
    /// Questions come here until the receiver is dropped, or another is opened.
    pub(crate) fn open(&self) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(MAX_QUESTIONS);
        *self.0.lock() = Some(sender);
        receiver
    }

    /// `None` while nobody is there to be asked.
    fn ask(&self, source: &Source) -> Option<oneshot::Receiver<Answer>> {
        let (answer, answered) = oneshot::channel();
        let question = Question { issuer: source.issuer.clone(), jwks_url: source.jwks_url.clone(), answer };
        self.0.lock().as_ref()?.try_send(question).ok()?;
        Some(answered)
    }
}

/// The task of one such issuer: it asks when somebody wants a key that is not there.
pub(super) struct Asker {
    pub(super) keys: Arc<IssuerKeys>,
    pub(super) line: Arc<KeyLine>,
}

impl Asker {
    /// Runs until it is aborted. What failed is tried again without anybody's wish, after the same pause as between two
    /// wishes: else it would be shown, and answered with, for as long as nobody wishes.
    pub(super) async fn run(self) {
        let mut again = None;
        loop {
            tokio::select! {
                () = self.keys.demanded() => {}
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    self.keys.begin_demand();
                }
            }
            let failure = self.ask().await.err();
            let next_attempt = Instant::now() + self.keys.pace.cool_down;
            again = failure.is_some().then_some(next_attempt);
            self.keys.end_question(failure, next_attempt);
        }
    }

    async fn ask(&self) -> Result<(), RenewFault> {
        let answered = self.line.ask(&self.keys.source).ok_or(RenewFault::ControlPlaneAway)?;
        match timeout(self.keys.pace.patience, answered).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(problem))) => Err(RenewFault::ControlPlane(Excerpt::of(&problem))),
            // The stream ended.
            Ok(Err(_)) => Err(RenewFault::ControlPlaneAway),
            Err(_elapsed) => Err(RenewFault::ControlPlaneSilent(self.keys.pace.patience)),
        }
    }
}
