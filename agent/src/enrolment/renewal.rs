//! A new certificate well before the old one ends.

use super::{
    identity::{Identity, IdentityError},
    link::Link,
    request::Request,
};
use crate::{
    backoff::Backoff,
    clock::Clock,
    control_plane::{CALL, MAX_MESSAGE_BYTES, Standing, said},
    validity::{RENEW_AT, Validity, until},
};
use attach_proto::v1::{self, enrolment_client::EnrolmentClient};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::Status;

/// The wall clock is looked at this often, for it may be set while we wait.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Between two tries: the eight hours that are left of 24 hold a hundred of them at least.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(300);

pub(crate) struct Renewer {
    pub(crate) state: PathBuf,
    pub(crate) link: Link,
    pub(crate) identities: watch::Sender<Arc<Identity>>,
    pub(crate) clock: Clock,
    pub(crate) standing: Arc<Standing>,
}

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("no key can be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("{}", said(.0))]
    Refused(Box<Status>),
    #[error("no answer within {CALL:?}")]
    Silent,
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Renewer {
    /// Runs until it is aborted.
    pub(crate) async fn run(self) {
        loop {
            let identity = Arc::clone(&self.identities.borrow());
            self.standing.note(|state| state.certificate_ends = Some(identity.not_after));
            let validity = Validity { not_before: identity.not_before, not_after: identity.not_after };
            let due = validity.at(rand::random_range(RENEW_AT));
            while self.clock.now() < due {
                sleep(until(due, self.clock.now()).min(LOOK_EVERY)).await;
            }
            self.replace(&identity).await;
        }
    }

    /// Tries until there is a new one.
    async fn replace(&self, identity: &Identity) {
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        loop {
            match self.renew(identity).await {
                Ok(renewed) => {
                    tracing::info!(certificate.ends = %renewed.not_after, "the certificate is renewed");
                    self.identities.send_replace(Arc::new(renewed));
                    return;
                }
                Err(error) => {
                    let ends = identity.not_after;
                    tracing::warn!(%error, certificate.ends = %ends, "the certificate cannot be renewed yet");
                }
            }
            sleep(backoff.next()).await;
        }
    }

    async fn renew(&self, identity: &Identity) -> Result<Identity, RenewError> {
        // However long that takes: a try without one would only lengthen the pauses.
        let connection = self.link.connection().await;
        let request = Request::new()?;
        let origin = connection.origin();
        let mut client =
            EnrolmentClient::with_origin(connection, origin).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let asked = v1::RenewRequest { certificate_request: request.request };
        let answer = timeout(CALL, client.renew(asked)).await.map_err(|_| RenewError::Silent)?;
        let certificate = answer.map_err(|status| RenewError::Refused(Box::new(status)))?.into_inner();
        let renewed = Identity::issued(&identity.address, identity.name.clone(), request.key, certificate)?;
        let (state, stored) = (self.state.clone(), renewed.clone());
        let stored = tokio::task::spawn_blocking(move || stored.store(&state)).await;
        // Not in force before it is kept: else the next start would come with the old one.
        stored.map_err(|error| IdentityError::Reply(error.to_string()))??;
        Ok(renewed)
    }
}
