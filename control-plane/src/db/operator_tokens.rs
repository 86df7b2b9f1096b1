//! Operator tokens, as their hashes.

use super::DbError;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

/// Whether there never was one. Until the transaction ends nobody else makes the first one either.
pub(crate) async fn is_first(connection: &mut PgConnection) -> Result<bool, DbError> {
    // Whoever makes one writes an audit entry, and waits here.
    sqlx::query!("select n from head where id = 2 for update").fetch_one(&mut *connection).await?;
    let is_first = sqlx::query_scalar!(r#"select not exists (select from operator_token) as "is_first!""#)
        .fetch_one(connection)
        .await?;
    Ok(is_first)
}

pub(crate) async fn insert(
    connection: &mut PgConnection,
    id: &str,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into operator_token (id, sha256, created_at) values ($1, $2, $3)",
        id,
        &sha256[..],
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn revoke_all(connection: &mut PgConnection, now: Timestamp) -> Result<(), DbError> {
    sqlx::query!(
        "update operator_token set revoked_at = $1 where revoked_at is null",
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The id of the token of this hash, when it is good. A look-up by the hash of a random text tells its clock nothing.
pub(crate) async fn good(
    connection: &mut PgConnection,
    sha256: &[u8; 32],
) -> Result<Option<String>, DbError> {
    let id = sqlx::query_scalar!(
        "select id from operator_token where sha256 = $1 and revoked_at is null",
        &sha256[..]
    )
    .fetch_optional(connection)
    .await?;
    Ok(id)
}
