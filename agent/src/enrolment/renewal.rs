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
};
use attach_proto::v1::{self, enrolment_client::EnrolmentClient};
use jiff::{SignedDuration, Timestamp};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::Status;

/// Where in a certificate's life it is renewed: at two thirds, and up to a twentieth earlier, so that gateways that joined
/// together do not come together. Of 24 hours, eight are left to try in.
const RENEW_AT: std::ops::Range<f64> = 0.617..0.667;

/// The wall clock is looked at this often, for it may be set while we wait.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Between two tries: the eight hours that are left hold a hundred of them at least.
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
            let due = due(&identity, rand::random_range(RENEW_AT));
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

/// When a certificate is to be renewed.
fn due(identity: &Identity, part: f64) -> Timestamp {
    let life = identity.not_after.duration_since(identity.not_before);
    let wait = SignedDuration::try_from_secs_f64(life.as_secs_f64() * part).unwrap_or_default();
    identity.not_before.checked_add(wait).unwrap_or(identity.not_before)
}

fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrolment::tests::Authority;

    #[test]
    fn a_certificate_of_a_day_is_renewed_before_its_sixteenth_hour_is_over() {
        let identity = Authority::new().enrol("main", "agent-1");
        let hours = |part| due(&identity, part).duration_since(identity.not_before).as_secs_f64() / 3600.0;
        assert!(hours(RENEW_AT.start) > 14.0 && hours(RENEW_AT.end) < 16.1);
        assert_eq!(until(identity.not_before, identity.not_after), Duration::ZERO);
    }
}
