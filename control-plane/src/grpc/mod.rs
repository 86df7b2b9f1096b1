//! The door for agents: gRPC over mutual TLS on a listener of its own.
//!
//! Who calls is known from the client certificate alone, which names agent and pool; `Enrolment.Join` is the one call
//! without. Each call looks whether the agent was revoked.

mod configuration;
mod enrolment;
mod lateness;
mod listener;
mod look_ups;
mod peer;
mod refusal;
mod session;
mod usage;

pub(crate) use listener::Listener;

use crate::{
    authority::{self, Authority, BundleSigner, LoadError},
    changes::Changes,
    clock::Clock,
    db::Database,
    issuer_keys::IssuerKeys,
    questions::Questions,
    seal::Sealer,
};
use attach_proto::v1::{
    self, configuration_server::ConfigurationServer, enrolment_server::EnrolmentServer,
    usage_server::UsageServer,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Above the 1 MiB that an agent sends of usage, and a Hello that names 50,000 resources.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// A token and a certificate request are some kilobytes, and strangers may send them.
const MAX_ENROLMENT_BYTES: usize = 64 * 1024;

/// What the services share.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) db: Database,
    pub(crate) authority: Arc<Authority>,
    pub(crate) signer: Arc<BundleSigner>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) questions: Arc<Questions>,
    pub(crate) issuer_keys: Arc<IssuerKeys>,
    pub(crate) clock: Clock,
    /// Ends the streams.
    pub(crate) stop: CancellationToken,
}

impl Door {
    /// Takes the authority out of the database, or makes it, and begins to follow changes and to ask issuers for keys; the
    /// tasks that do so end with `stop`.
    pub(crate) async fn open(
        db: Database,
        sealer: Arc<Sealer>,
        issuer_keys: Arc<IssuerKeys>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, LoadError> {
        let (authority, signer) = authority::load_or_make(&db, &sealer, clock.now()).await?;
        let signer = Arc::new(signer);
        let changes = Arc::new(Changes::new(db.clone(), sealer, Arc::clone(&signer)));
        tokio::spawn({
            let (changes, stop) = (Arc::clone(&changes), stop.clone());
            async move {
                // Without it no change and no revocation would reach anybody: then the process is to end.
                let _end = stop.clone().drop_guard();
                changes.run(stop).await;
            }
        });
        tokio::spawn({
            let (issuer_keys, stop) = (Arc::clone(&issuer_keys), stop.clone());
            async move {
                let _end = stop.clone().drop_guard();
                issuer_keys.run(stop).await;
            }
        });
        let (authority, questions) = (Arc::new(authority), Arc::new(Questions::new()));
        Ok(Self { db, authority, signer, changes, questions, issuer_keys, clock, stop })
    }

    fn routes(&self) -> Routes {
        let configuration =
            ConfigurationServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let enrolment = EnrolmentServer::new(self.clone()).max_decoding_message_size(MAX_ENROLMENT_BYTES);
        let usage = UsageServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Routes::new(configuration).add_service(enrolment).add_service(usage).prepare()
    }

    /// An agent's certificate, and whom it may believe.
    fn certificate(&self, issued: authority::AgentCertificate) -> v1::Certificate {
        v1::Certificate {
            certificate: issued.der,
            not_before: Some(attach_proto::timestamp(issued.not_before)),
            not_after: Some(attach_proto::timestamp(issued.not_after)),
            authorities: vec![self.authority.certificate().to_vec()],
            signing_keys: vec![self.signer.public()],
        }
    }
}

#[cfg(test)]
mod tests;
