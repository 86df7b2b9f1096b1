//! An agent's next certificate, of a new key.

use super::OpError;
use crate::{
    authority::{AgentCertificate, Authority, IssueError},
    db::{Database, DbError, agents, audit},
    domain::actor::Actor,
};
use attach_proto::enrolment::AgentName;
use jiff::Timestamp;
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    #[error("the agent was revoked")]
    Revoked,
    #[error("the agent is not on record")]
    Unknown,
    #[error("certificate_request {0}")]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Op(#[from] OpError),
}

impl From<DbError> for RenewError {
    fn from(error: DbError) -> Self {
        Self::Op(error.into())
    }
}

pub(crate) async fn renew_certificate(
    db: &Database,
    authority: &Authority,
    agent: &AgentName,
    request: &[u8],
    now: Timestamp,
) -> Result<AgentCertificate, RenewError> {
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    match agents::standing(connection, &agent.agent, &agent.pool).await? {
        agents::Standing::Good => {}
        agents::Standing::Revoked => return Err(RenewError::Revoked),
        agents::Standing::Unknown => return Err(RenewError::Unknown),
    }
    let certificate = authority.for_agent(request, agent, now)?;
    let entry = audit::Entry {
        actor: &Actor::Agent(agent.agent.clone()),
        tenant: None,
        action: "renew_certificate",
        target: agent.agent.as_str(),
        detail: json!({ "not_after": certificate.not_after }),
    };
    audit::append(connection, entry).await?;
    tx.commit().await?;
    Ok(certificate)
}
