//! Usage as it comes in: spools' cursors, events, their hourly sums, and what is put aside.

mod events;
mod hours;
mod keys;

pub(crate) use events::{Attempt, Columns, Measure, insert};
pub(crate) use hours::{HourKey, HourSum, add_to_hours};
pub(crate) use keys::{UsedKey, note_use};

use super::DbError;
use attach_proto::id::{AgentId, PoolId, TenantId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

/// How far a spool has come, and whose it is.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Empty for one of another pool.
    pub(crate) agent: String,
    pub(crate) last_seq: i64,
}

/// When a tenant is, or was, in a pool.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) since: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

/// Which event it is, as the table knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventKey {
    pub(crate) tenant: String,
    /// Microseconds since the Unix epoch, which is how exactly Postgres keeps time.
    pub(crate) occurred_at_us: i64,
    pub(crate) event_id: Uuid,
}

/// What nobody may be charged for.
#[derive(Debug)]
pub(crate) struct Quarantined {
    pub(crate) seq: i64,
    pub(crate) claimed_tenant: String,
    pub(crate) reason: &'static str,
    pub(crate) body: Vec<u8>,
}

/// The spool's cursor, made at its first batch, and held against other batches of the same spool.
pub(crate) async fn lock_spool(
    connection: &mut PgConnection,
    spool: Uuid,
    agent: &AgentId,
    now: Timestamp,
) -> Result<Cursor, DbError> {
    // Looked for first: a spool is new only once.
    if let Some(cursor) = locked(connection, spool).await? {
        return Ok(cursor);
    }
    sqlx::query!(
        "insert into usage_spool (spool_id, agent_id, first_at, last_at) values ($1, $2, $3, $3) on conflict do nothing",
        spool,
        agent.as_str(),
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(&mut *connection)
    .await?;
    // Taken and not to be seen: another pool's.
    let cursor = locked(connection, spool).await?;
    Ok(cursor.unwrap_or(Cursor { agent: String::new(), last_seq: 0 }))
}

async fn locked(connection: &mut PgConnection, spool: Uuid) -> Result<Option<Cursor>, DbError> {
    let row =
        sqlx::query!("select agent_id, last_seq from usage_spool where spool_id = $1 for update", spool)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|row| Cursor { agent: row.agent_id, last_seq: row.last_seq }))
}

pub(crate) async fn advance(
    connection: &mut PgConnection,
    spool: Uuid,
    last_seq: i64,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query!(
        "update usage_spool set last_seq = $2, last_at = $3 where spool_id = $1",
        spool,
        last_seq,
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The tenants that are or were in a pool, and when.
pub(crate) async fn memberships(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<HashMap<TenantId, Vec<Membership>>, DbError> {
    let rows = sqlx::query!(
        r#"select tenant_id, since as "since: jiff_sqlx::Timestamp", until as "until: jiff_sqlx::Timestamp"
           from pool_membership where pool_id = $1"#,
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let mut memberships: HashMap<TenantId, Vec<Membership>> = HashMap::new();
    for row in rows {
        let membership =
            Membership { since: row.since.to_jiff(), until: row.until.map(|until| until.to_jiff()) };
        memberships.entry(super::stored_id(&row.tenant_id)?).or_default().push(membership);
    }
    Ok(memberships)
}

/// An event that is there.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) spool: Uuid,
    pub(crate) seq: i64,
    pub(crate) sha256: Vec<u8>,
}

/// Those events that are there.
pub(crate) async fn kept(
    connection: &mut PgConnection,
    keys: &[EventKey],
) -> Result<HashMap<EventKey, Kept>, DbError> {
    let tenants: Vec<String> = keys.iter().map(|key| key.tenant.clone()).collect();
    let times: Vec<i64> = keys.iter().map(|key| key.occurred_at_us).collect();
    let ids: Vec<Uuid> = keys.iter().map(|key| key.event_id).collect();
    let rows = sqlx::query!(
        r#"select event.tenant_id, wanted.occurred_at_us as "occurred_at_us!", event.event_id, event.spool_id,
               event.seq, event.sha256
           from unnest($1::text[], $2::bigint[], $3::uuid[]) as wanted (tenant_id, occurred_at_us, event_id)
           join usage_event event on event.tenant_id = wanted.tenant_id and event.event_id = wanted.event_id
               and event.occurred_at = timestamptz 'epoch' + wanted.occurred_at_us * interval '1 microsecond'"#,
        &tenants,
        &times,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let found = rows.into_iter().map(|row| {
        let key =
            EventKey { tenant: row.tenant_id, occurred_at_us: row.occurred_at_us, event_id: row.event_id };
        (key, Kept { spool: row.spool_id, seq: row.seq, sha256: row.sha256 })
    });
    Ok(found.collect())
}

/// The bodies that were put aside, by their number in the spool.
pub(crate) async fn quarantined(
    connection: &mut PgConnection,
    spool: Uuid,
    seqs: &[i64],
) -> Result<HashMap<i64, Vec<u8>>, DbError> {
    let rows = sqlx::query!(
        "select seq, body from usage_quarantine where spool_id = $1 and seq = any($2)",
        spool,
        seqs
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.seq, row.body)).collect())
}

pub(crate) async fn quarantine(
    connection: &mut PgConnection,
    spool: Uuid,
    agent: &AgentId,
    now: Timestamp,
    aside: &Quarantined,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into usage_quarantine (spool_id, seq, agent_id, claimed_tenant, reason, body, received_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        spool,
        aside.seq,
        agent.as_str(),
        aside.claimed_tenant,
        aside.reason,
        aside.body,
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}
