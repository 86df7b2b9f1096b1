//! What should not happen, and did.

use super::DbError;
use attach_proto::id::AgentId;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

pub(crate) async fn raise(
    connection: &mut PgConnection,
    kind: &'static str,
    agent: &AgentId,
    detail: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into alarm (at, kind, agent_id, detail) values ($1, $2, $3, $4)",
        now.to_sqlx() as jiff_sqlx::Timestamp,
        kind,
        agent.as_str(),
        detail,
    )
    .execute(connection)
    .await?;
    Ok(())
}
