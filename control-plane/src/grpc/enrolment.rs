//! `Enrolment`: joining, and renewing.

use super::{Door, peer, refusal};
use crate::ops::{self, Join};
use attach_proto::v1::{Certificate, JoinReply, JoinRequest, RenewRequest, enrolment_server::Enrolment};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl Enrolment for Door {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let JoinRequest { token, certificate_request, host, version } = request.into_inner();
        let join = Join { token: &token, request: &certificate_request, host: &host, version: &version };
        let (name, certificate) = ops::join_agent(&self.db, &self.authority, join, self.clock.now())
            .await
            .map_err(|error| refusal::join(&error))?;
        tracing::info!(agent.id = %name.agent, pool.id = %name.pool, host, "an agent joined");
        Ok(Response::new(JoinReply {
            agent: name.agent.into(),
            pool: name.pool.into(),
            certificate: Some(self.certificate(certificate)),
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Certificate>, Status> {
        let agent = peer::late_agent(&request)?;
        let request = request.into_inner().certificate_request;
        let certificate =
            ops::renew_certificate(&self.db, &self.authority, &agent, &request, self.clock.now())
                .await
                .map_err(|error| refusal::renew(&error))?;
        Ok(Response::new(self.certificate(certificate)))
    }
}
