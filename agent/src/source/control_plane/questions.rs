//! Issuers that the control plane is asked to ask anew, on one stream: the questions, and who waits for which answer.

use crate::identify::{KeyAnswer, KeyQuestion};
use attach_proto::v1;
use tokio::sync::{mpsc, oneshot};

type Waiting = oneshot::Sender<KeyAnswer>;

/// Each issuer has one question under way at most, so there are never more than issuers.
pub(super) struct Questions {
    line: mpsc::Receiver<KeyQuestion>,
    /// Until the control plane answers.
    asked: Vec<(v1::KeysWanted, Waiting)>,
    /// Until this revision acts: what was found comes with it.
    found: Vec<(u64, Waiting)>,
}

impl Questions {
    pub(super) fn new(line: mpsc::Receiver<KeyQuestion>) -> Self {
        Self { line, asked: Vec::new(), found: Vec::new() }
    }

    /// What to send.
    pub(super) async fn next(&mut self) -> v1::KeysWanted {
        let Some(KeyQuestion { issuer, jwks_url, answer }) = self.line.recv().await else {
            // Another stream has taken over.
            return std::future::pending().await;
        };
        let wanted = v1::KeysWanted { issuer, jwks_url: jwks_url.map(String::from).unwrap_or_default() };
        // A control plane of before these questions answers none.
        self.asked.retain(|(_, waiting)| !waiting.is_closed());
        // What was found may be in a revision that this gateway refuses.
        self.found.retain(|(_, waiting)| !waiting.is_closed());
        self.asked.push((wanted.clone(), answer));
        wanted
    }

    /// `applied` is the revision that acts.
    pub(super) fn answered(&mut self, reply: v1::KeysLookedUp, applied: u64) {
        let v1::KeysLookedUp { issuer, jwks_url, revision, problem } = reply;
        let wanted = v1::KeysWanted { issuer, jwks_url };
        while let Some(at) = self.asked.iter().position(|(asked, _)| *asked == wanted) {
            let (_, waiting) = self.asked.swap_remove(at);
            if !problem.is_empty() {
                let _ = waiting.send(Err(problem.clone()));
            } else if revision <= applied {
                let _ = waiting.send(Ok(()));
            } else {
                self.found.push((revision, waiting));
            }
        }
    }

    pub(super) fn applied(&mut self, revision: u64) {
        for (_, waiting) in self.found.extract_if(.., |(wanted, _)| *wanted <= revision) {
            let _ = waiting.send(Ok(()));
        }
    }
}
