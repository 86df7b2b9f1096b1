//! Agents, and what they said of themselves last.

use super::DbError;
use attach_proto::id::{AgentId, PoolId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::Value;
use sqlx::PgConnection;

/// Whether an agent is to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    Revoked,
    /// Nobody of that name in that pool.
    Unknown,
}

/// What an agent says at the beginning of a stream.
#[derive(Debug)]
pub(crate) struct Connected<'a> {
    pub(crate) version: &'a str,
    pub(crate) features: &'a [String],
    pub(crate) upstreams: &'a Value,
}

/// What an agent says every few seconds.
#[derive(Debug)]
pub(crate) struct Beat<'a> {
    pub(crate) applied_revision: i64,
    pub(crate) health: &'a Value,
    pub(crate) issuers: &'a Value,
    pub(crate) clock_offset_ms: Option<i64>,
    pub(crate) unacknowledged_events: i64,
}

pub(crate) async fn insert(
    connection: &mut PgConnection,
    id: &AgentId,
    pool: &PoolId,
    host: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into agent (id, pool_id, host, enrolled_at) values ($1, $2, $3, $4)",
        id.as_str(),
        pool.as_str(),
        host,
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such an agent that was good until now.
pub(crate) async fn revoke(connection: &mut PgConnection, id: &AgentId) -> Result<bool, DbError> {
    let revoked =
        sqlx::query!("update agent set revoked_at = now() where id = $1 and revoked_at is null", id.as_str())
            .execute(connection)
            .await?;
    Ok(revoked.rows_affected() > 0)
}

pub(crate) async fn standing(
    connection: &mut PgConnection,
    id: &AgentId,
    pool: &PoolId,
) -> Result<Standing, DbError> {
    let is_revoked = sqlx::query_scalar!(
        r#"select revoked_at is not null as "revoked!" from agent where id = $1 and pool_id = $2"#,
        id.as_str(),
        pool.as_str()
    )
    .fetch_optional(connection)
    .await?;
    Ok(match is_revoked {
        Some(false) => Standing::Good,
        Some(true) => Standing::Revoked,
        None => Standing::Unknown,
    })
}

/// Those of the given agents that were revoked.
pub(crate) async fn revoked_among(
    connection: &mut PgConnection,
    ids: &[String],
) -> Result<Vec<String>, DbError> {
    let revoked =
        sqlx::query_scalar!("select id from agent where id = any($1) and revoked_at is not null", ids)
            .fetch_all(connection)
            .await?;
    Ok(revoked)
}

/// Returns since when it is connected.
pub(crate) async fn connected(
    connection: &mut PgConnection,
    id: &AgentId,
    said: &Connected<'_>,
) -> Result<Timestamp, DbError> {
    let connected_at = sqlx::query_scalar!(
        r#"insert into agent_state (agent_id, program_version, features, upstreams, connected_at, last_seen_at)
           values ($1, $2, $3, $4, now(), now())
           on conflict (agent_id) do update set
               program_version = excluded.program_version, features = excluded.features, upstreams = excluded.upstreams,
               connected_at = now(), last_seen_at = now(), disconnected_at = null
           returning connected_at as "connected_at: jiff_sqlx::Timestamp""#,
        id.as_str(),
        said.version,
        said.features,
        said.upstreams,
    )
    .fetch_one(connection)
    .await?;
    Ok(connected_at.to_jiff())
}

/// Unless it has connected again since, as an agent does that noticed the loss first.
pub(crate) async fn disconnected(
    connection: &mut PgConnection,
    id: &AgentId,
    connected_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "update agent_state set disconnected_at = now() where agent_id = $1 and connected_at = $2",
        id.as_str(),
        connected_at.to_sqlx() as jiff_sqlx::Timestamp
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn beat(
    connection: &mut PgConnection,
    id: &AgentId,
    said: &Beat<'_>,
) -> Result<(), DbError> {
    sqlx::query!(
        "update agent_state set last_seen_at = now(), applied_revision = $2, health = $3, clock_offset_ms = $4,
             unacknowledged_events = $5, issuers = $6
         where agent_id = $1",
        id.as_str(),
        said.applied_revision,
        said.health,
        said.clock_offset_ms,
        said.unacknowledged_events,
        said.issuers,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A revision that the agent serves now.
pub(crate) async fn applied(
    connection: &mut PgConnection,
    id: &AgentId,
    revision: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "update agent_state set last_seen_at = now(), applied_revision = $2, refused_revision = null, refusal = null,
             missing_features = '{}'
         where agent_id = $1",
        id.as_str(),
        revision,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A revision that the agent would not take; its last good one serves on.
pub(crate) async fn refused(
    connection: &mut PgConnection,
    id: &AgentId,
    revision: i64,
    why: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "update agent_state set last_seen_at = now(), refused_revision = $2, refusal = $3 where agent_id = $1",
        id.as_str(),
        revision,
        why,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What the pool's bundle needs and the agent can't do.
pub(crate) async fn too_old(
    connection: &mut PgConnection,
    id: &AgentId,
    missing: &[String],
) -> Result<(), DbError> {
    sqlx::query!("update agent_state set missing_features = $2 where agent_id = $1", id.as_str(), missing)
        .execute(connection)
        .await?;
    Ok(())
}
