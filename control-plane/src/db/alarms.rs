//! What should not happen, and did.

use super::DbError;
use crate::domain::{
    fleet::AlarmRecord,
    page::{Page, Part},
};
use attach_proto::id::AgentId;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

/// The last first.
pub(crate) async fn list(
    connection: &mut PgConnection,
    page: &Page<i64>,
) -> Result<Part<AlarmRecord>, DbError> {
    let rows = sqlx::query!(
        r#"select id, at as "at: jiff_sqlx::Timestamp", kind, agent_id, detail from alarm
           where $1::bigint is null or id < $1 order by id desc limit $2"#,
        page.after,
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let alarms = rows.into_iter().map(|row| AlarmRecord {
        id: row.id,
        at: row.at.to_jiff(),
        kind: row.kind,
        agent: row.agent_id,
        detail: row.detail,
    });
    Ok(page.part(alarms.collect()))
}

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
