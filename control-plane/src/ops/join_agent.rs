//! A gateway becomes an agent of a pool, by a join token that is good once.

use super::OpError;
use crate::{
    authority::{AgentCertificate, Authority, IssueError},
    db::{
        Database, DbError, agents, audit,
        join_tokens::{self, Standing},
    },
    domain::{actor::Actor, secret},
};
use attach_proto::{
    enrolment::AgentName,
    id::AgentId,
    join_token::{InvalidJoinToken, JoinToken},
};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

/// Versions are short; this one goes into the trail.
const MAX_VERSION_BYTES: usize = 64;

/// What a gateway brings.
#[derive(Debug)]
pub(crate) struct Join<'a> {
    pub(crate) token: &'a str,
    /// PKCS #10, DER.
    pub(crate) request: &'a [u8],
    pub(crate) host: &'a str,
    pub(crate) version: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error(transparent)]
    Form(#[from] InvalidJoinToken),
    #[error("the join token is of another control plane")]
    OtherControlPlane,
    #[error("the join token is not known here")]
    Unknown,
    #[error("the join token was used: each is good for one gateway; make another in the console")]
    Used,
    #[error("the join token has expired; make another in the console")]
    Expired,
    #[error("the join token was revoked")]
    Revoked,
    #[error("host must have 1 to 255 characters, version at most 64, and neither control characters")]
    Host,
    #[error("certificate_request {0}")]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Op(#[from] OpError),
}

impl From<DbError> for JoinError {
    fn from(error: DbError) -> Self {
        Self::Op(error.into())
    }
}

pub(crate) async fn join_agent(
    db: &Database,
    authority: &Authority,
    join: Join<'_>,
    now: Timestamp,
) -> Result<(AgentName, AgentCertificate), JoinError> {
    let token: JoinToken = join.token.parse()?;
    if *token.authority_sha256() != authority.sha256() {
        return Err(JoinError::OtherControlPlane);
    }
    if join.host.chars().chain(join.version.chars()).any(char::is_control)
        || join.version.len() > MAX_VERSION_BYTES
    {
        return Err(JoinError::Host);
    }
    let hash = secret::sha256(token.as_str());
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    let pool = match join_tokens::take(connection, &hash, now).await? {
        Standing::Good(pool) => pool,
        Standing::Used => return Err(JoinError::Used),
        Standing::Expired => return Err(JoinError::Expired),
        Standing::Revoked => return Err(JoinError::Revoked),
        Standing::Unknown => return Err(JoinError::Unknown),
    };
    // A UUID is always an id.
    let agent: AgentId = format!("agent-{}", Uuid::now_v7()).parse().map_err(|_| JoinError::Unknown)?;
    let name = AgentName { pool, agent };
    // Before anything is written: a request that is none uses up no token.
    let certificate = authority.for_agent(join.request, &name, now)?;
    agents::insert(connection, &name.agent, &name.pool, join.host, now).await.map_err(
        |error| match error {
            DbError::Conflict { .. } => JoinError::Host,
            error @ (DbError::Full(_)
            | DbError::Unavailable(_)
            | DbError::Value(_)
            | DbError::Statement(_)) => error.into(),
        },
    )?;
    join_tokens::use_up(connection, &hash, &name.agent, now).await?;
    let entry = audit::Entry {
        actor: &Actor::Agent(name.agent.clone()),
        tenant: None,
        action: "join_agent",
        target: name.agent.as_str(),
        detail: json!({ "pool": name.pool.as_str(), "host": join.host, "version": join.version, "token": token.id() }),
    };
    audit::append(connection, entry).await?;
    tx.commit().await?;
    Ok((name, certificate))
}
