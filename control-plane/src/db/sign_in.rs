//! Links to sign in with, and the sessions that they began.

use super::DbError;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

pub(crate) async fn insert_link(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into sign_in_link (sha256, created_at, expires_at) values ($1, $2, $3)",
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
        expires_at.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether the link was good until now.
pub(crate) async fn use_link(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<bool, DbError> {
    let used = sqlx::query!(
        "update sign_in_link set used_at = $2 where sha256 = $1 and used_at is null and expires_at > $2",
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(used.rows_affected() > 0)
}

pub(crate) async fn insert_session(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into console_session (sha256, created_at, expires_at) values ($1, $2, $3)",
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
        expires_at.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn is_session_open(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<bool, DbError> {
    let is_open = sqlx::query_scalar!(
        r#"select exists (
               select from console_session where sha256 = $1 and ended_at is null and expires_at > $2) as "is_open!""#,
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .fetch_one(connection)
    .await?;
    Ok(is_open)
}

/// Whether it was open until now.
pub(crate) async fn end_session(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<bool, DbError> {
    let ended = sqlx::query!(
        "update console_session set ended_at = $2 where sha256 = $1 and ended_at is null",
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(ended.rows_affected() > 0)
}
