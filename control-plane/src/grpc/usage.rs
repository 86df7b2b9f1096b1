//! `Usage`: what was committed is acknowledged, and nothing else.

use super::{Door, peer, refusal};
use crate::{db::in_time, ops};
use attach_proto::v1::{UsageAck, UsageBatch, usage_server::Usage};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl Usage for Door {
    async fn report(&self, request: Request<UsageBatch>) -> Result<Response<UsageAck>, Status> {
        let agent = peer::agent(&request, &self.clock)?;
        let taken = in_time(ops::take_usage(&self.db, &agent, request.into_inner(), self.clock.now()));
        let acknowledged = taken.await.map_err(|error| refusal::take(&error))?;
        Ok(Response::new(UsageAck { acknowledged_seq: acknowledged.unsigned_abs() }))
    }
}
