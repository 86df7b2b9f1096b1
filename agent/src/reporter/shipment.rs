//! Sends one spool, batch by batch, as far as it goes.

use super::answer::{Answer, answer};
use crate::{
    control_plane::{CALL, Connection, MAX_MESSAGE_BYTES, Standing},
    enrolment::Link,
    usage::{Batch, OutboxError, Outgoing},
};
use attach_proto::v1::{UsageBatch, usage_client::UsageClient};
use std::sync::Arc;
use tokio::{task::spawn_blocking, time::timeout};
use tonic::Status;
use uuid::Uuid;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    /// All is acknowledged.
    Well,
    /// There is no connection.
    Away,
    /// The rest waits for a better time.
    Later,
    /// The rest waits for a person.
    Stopped,
}

pub(super) struct Shipment {
    link: Link,
    standing: Arc<Standing>,
    is_failing: bool,
}

impl Shipment {
    pub(super) fn new(link: Link, standing: Arc<Standing>) -> Self {
        Self { link, standing, is_failing: false }
    }

    /// Sends until all is acknowledged or something is in the way. The spool comes back, for the next time.
    pub(super) async fn ship(&mut self, mut outgoing: Outgoing) -> (Option<Outgoing>, Went) {
        let id = outgoing.id();
        let mut after = outgoing.acknowledged();
        loop {
            let Some(connection) = self.link.live_connection() else { return (Some(outgoing), Went::Away) };
            let read = spawn_blocking(move || {
                let read = outgoing.batch(after);
                (outgoing, read)
            });
            // Only a panic in there ends otherwise, and the hook has told of it.
            let Ok((returned, read)) = read.await else { return (None, Went::Stopped) };
            outgoing = returned;
            let batch = match read {
                Ok(Some(batch)) => batch,
                Ok(None) => return (Some(outgoing), Went::Well),
                Err(error @ OutboxError::Missing(_)) => {
                    return (Some(outgoing), self.stop(id, &error.to_string()));
                }
                Err(error) => return (Some(outgoing), self.later(id, &error.to_string())),
            };
            let result = send(connection, &batch).await;
            match answer(&batch, outgoing.last_seq(), result.as_ref().copied()) {
                Answer::Acknowledged(seq) => {
                    self.say_recovered();
                    after = seq;
                    let kept = spawn_blocking(move || {
                        let kept = outgoing.acknowledge(seq);
                        (outgoing, kept)
                    });
                    let Ok((returned, kept)) = kept.await else { return (None, Went::Stopped) };
                    outgoing = returned;
                    if let Err(error) = kept {
                        return (Some(outgoing), self.later(id, &error.to_string()));
                    }
                }
                Answer::Back(seq) => {
                    tracing::warn!(spool.id = %id, "the control plane lacks events behind {seq}: sending them again");
                    after = seq;
                }
                Answer::Later(said) => return (Some(outgoing), self.later(id, &said)),
                Answer::Refused(said) => return (Some(outgoing), self.stop(id, &said)),
            }
        }
    }

    /// Once for each time that it begins to fail.
    fn later(&mut self, spool: Uuid, said: &str) -> Went {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(spool.id = %spool, "usage can't be sent: {said}; it stays on disk until it can");
        }
        Went::Later
    }

    fn say_recovered(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("usage is sent again");
        }
    }

    fn stop(&self, spool: Uuid, said: &str) -> Went {
        tracing::error!(
            spool.id = %spool,
            "this usage spool is not sent any more: {said}; its events stay on disk, and a person has to look"
        );
        self.standing.note(|state| state.stopped_spools += 1);
        Went::Stopped
    }
}

async fn send(connection: Connection, batch: &Batch) -> Result<attach_proto::v1::UsageAck, Status> {
    let origin = connection.origin();
    let mut client =
        UsageClient::with_origin(connection, origin).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let request = UsageBatch {
        spool: batch.spool.to_string(),
        first_seq: batch.first_seq,
        events: batch.events.clone(),
    };
    match timeout(CALL, client.report(request)).await {
        Ok(answered) => answered.map(tonic::Response::into_inner),
        Err(_elapsed) => Err(Status::deadline_exceeded(format!("no answer within {CALL:?}"))),
    }
}
