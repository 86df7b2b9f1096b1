//! An agent's questions for keys of issuers, beside its stream: what the issuer says may have to come by it before the
//! answer counts.

use super::{refusal, session::ToAgentSender};
use crate::{
    domain::issuer_keys::Source,
    issuer_keys::{IssuerKeys, LookedUp},
};
use attach_proto::{
    id::PoolId,
    v1::{KeysLookedUp, KeysWanted, ToAgent, to_agent::Message as Say},
};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::Status;

/// Questions that one agent may have open: as many as it asks in the time that it waits for an answer, ten each second for
/// five, with some room.
const AT_ONCE: usize = 64;

/// An issuer has at most as many, and so has the address of its keys (`attach_proto::convert`).
const MAX_ADDRESS_BYTES: usize = 1_024;

pub(super) struct LookUps {
    issuer_keys: Arc<IssuerKeys>,
    pool: PoolId,
    to_agent: ToAgentSender,
    room: Arc<Semaphore>,
}

impl LookUps {
    pub(super) fn new(issuer_keys: Arc<IssuerKeys>, pool: PoolId, to_agent: ToAgentSender) -> Self {
        Self { issuer_keys, pool, to_agent, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Answered when the issuer was asked.
    pub(super) fn begin(&self, wanted: KeysWanted) -> Result<(), Status> {
        let KeysWanted { issuer, jwks_url } = wanted;
        if issuer.len() > MAX_ADDRESS_BYTES || jwks_url.len() > MAX_ADDRESS_BYTES {
            return Err(refusal::invalid("no issuer has such an address"));
        }
        // No agent of ours asks so much; it would not wait for the answer either.
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return Ok(()) };
        let (issuer_keys, to_agent) = (Arc::clone(&self.issuer_keys), self.to_agent.clone());
        let pool = self.pool.clone();
        tokio::spawn(async move {
            let wanted = Source { issuer, jwks_url };
            let LookedUp { revision, problem } = issuer_keys.demand(pool, wanted.clone()).await;
            let Source { issuer, jwks_url } = wanted;
            let reply = Say::KeysLookedUp(KeysLookedUp { issuer, jwks_url, revision, problem });
            let _ = to_agent.send(Ok(ToAgent { message: Some(reply) })).await;
            drop(permit);
        });
        Ok(())
    }
}
