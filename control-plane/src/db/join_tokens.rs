//! Join tokens: who may become an agent of a pool.

use super::DbError;
use attach_proto::id::{AgentId, PoolId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Good(PoolId),
    Used,
    Expired,
    Revoked,
    Unknown,
}

pub(crate) async fn insert(
    connection: &mut PgConnection,
    id: &str,
    pool: &PoolId,
    sha256: &[u8; 32],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into join_token (id, pool_id, sha256, created_at, expires_at) values ($1, $2, $3, $4, $5)",
        id,
        pool.as_str(),
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
        expires_at.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Looks a token up by its hash, and keeps others from it until the transaction ends: of many that come with one token
/// the first to get here has it.
pub(crate) async fn take(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<Standing, DbError> {
    let row = sqlx::query!(
        r#"select pool_id, expires_at <= $2 as "expired!", used_at is not null as "used!", revoked_at is not null as "revoked!"
           from join_token where sha256 = $1 for update"#,
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(Standing::Unknown) };
    Ok(if row.used {
        Standing::Used
    } else if row.revoked {
        Standing::Revoked
    } else if row.expired {
        Standing::Expired
    } else {
        Standing::Good(super::stored_id(&row.pool_id)?)
    })
}

pub(crate) async fn use_up(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
    agent: &AgentId,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "update join_token set used_at = $3, agent_id = $2 where sha256 = $1",
        &sha256[..],
        agent.as_str(),
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a token that was good until now.
pub(crate) async fn revoke(connection: &mut PgConnection, id: &str) -> Result<bool, DbError> {
    let revoked = sqlx::query!(
        "update join_token set revoked_at = now() where id = $1 and revoked_at is null and used_at is null",
        id
    )
    .execute(connection)
    .await?;
    Ok(revoked.rows_affected() > 0)
}
