//! Usage events as they come in, and their hourly sums.

use super::DbError;
use attach_proto::id::{AgentId, PoolId, TenantId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// How far a spool has come, and whose it is.
#[derive(Debug)]
pub(crate) struct Cursor {
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

/// Events by their columns.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) tenant: Vec<String>,
    pub(crate) occurred_at_us: Vec<i64>,
    pub(crate) event_id: Vec<Uuid>,
    pub(crate) seq: Vec<i64>,
    pub(crate) sha256: Vec<Vec<u8>>,
    pub(crate) request_id: Vec<String>,
    pub(crate) operation: Vec<String>,
    pub(crate) dialect: Vec<String>,
    pub(crate) model: Vec<String>,
    pub(crate) stream: Vec<bool>,
    pub(crate) principal_kind: Vec<i16>,
    pub(crate) subject: Vec<String>,
    pub(crate) issuer: Vec<String>,
    pub(crate) key_id: Vec<String>,
    pub(crate) groups: Vec<Value>,
    pub(crate) project: Vec<String>,
    pub(crate) measures: Vec<Value>,
    pub(crate) outcome: Vec<i16>,
    pub(crate) http_status: Vec<i16>,
    pub(crate) bundle_revision: Vec<i64>,
    pub(crate) attempts: Vec<Value>,
    pub(crate) time_to_first_byte_ms: Vec<Option<i64>>,
    pub(crate) duration_ms: Vec<i64>,
}

/// Whose sum, of what, in which hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HourKey {
    pub(crate) tenant: String,
    /// Seconds since the Unix epoch, of the beginning.
    pub(crate) hour: i64,
    pub(crate) principal_kind: i16,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) model: String,
    /// Empty for the requests themselves.
    pub(crate) kind: String,
    pub(crate) source: i16,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HourSum {
    pub(crate) quantity: u64,
    pub(crate) requests: i64,
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
    sqlx::query!(
        "insert into usage_spool (spool_id, agent_id, first_at, last_at) values ($1, $2, $3, $3) on conflict do nothing",
        spool,
        agent.as_str(),
        now.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(&mut *connection)
    .await?;
    let row =
        sqlx::query!("select agent_id, last_seq from usage_spool where spool_id = $1 for update", spool)
            .fetch_one(connection)
            .await?;
    Ok(Cursor { agent: row.agent_id, last_seq: row.last_seq })
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

/// The hashes of those events that are there.
pub(crate) async fn hashes(
    connection: &mut PgConnection,
    keys: &[EventKey],
) -> Result<HashMap<EventKey, Vec<u8>>, DbError> {
    let tenants: Vec<String> = keys.iter().map(|key| key.tenant.clone()).collect();
    let times: Vec<i64> = keys.iter().map(|key| key.occurred_at_us).collect();
    let ids: Vec<Uuid> = keys.iter().map(|key| key.event_id).collect();
    let rows = sqlx::query!(
        r#"select event.tenant_id, wanted.occurred_at_us as "occurred_at_us!", event.event_id, event.sha256
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
        (key, row.sha256)
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

/// Returns how many were new.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    pool: &PoolId,
    agent: &AgentId,
    spool: Uuid,
    now: Timestamp,
    columns: &Columns,
) -> Result<u64, DbError> {
    let inserted = sqlx::query!(
        r#"insert into usage_event (
               tenant_id, occurred_at, event_id, billed_at, pool_id, agent_id, spool_id, seq, sha256, request_id, operation,
               dialect, model, stream, principal_kind, subject, issuer, key_id, groups, project, measures, outcome,
               http_status, bundle_revision, attempts, time_to_first_byte_ms, duration_ms)
           select tenant_id, timestamptz 'epoch' + occurred_at_us * interval '1 microsecond', event_id, $1, $2, $3, $4, seq,
               sha256, request_id, operation, dialect, model, stream, principal_kind, subject, issuer, key_id, groups,
               project, measures, outcome, http_status, bundle_revision, attempts, time_to_first_byte_ms, duration_ms
           from unnest($5::text[], $6::bigint[], $7::uuid[], $8::bigint[], $9::bytea[], $10::text[], $11::text[],
                       $12::text[], $13::text[], $14::boolean[], $15::smallint[], $16::text[], $17::text[], $18::text[],
                       $19::jsonb[], $20::text[], $21::jsonb[], $22::smallint[], $23::smallint[], $24::bigint[],
                       $25::jsonb[], $26::bigint[], $27::bigint[])
               as event (tenant_id, occurred_at_us, event_id, seq, sha256, request_id, operation, dialect, model, stream,
                         principal_kind, subject, issuer, key_id, groups, project, measures, outcome, http_status,
                         bundle_revision, attempts, time_to_first_byte_ms, duration_ms)
           on conflict do nothing"#,
        now.to_sqlx() as jiff_sqlx::Timestamp,
        pool.as_str(),
        agent.as_str(),
        spool,
        &columns.tenant,
        &columns.occurred_at_us,
        &columns.event_id,
        &columns.seq,
        &columns.sha256,
        &columns.request_id,
        &columns.operation,
        &columns.dialect,
        &columns.model,
        &columns.stream,
        &columns.principal_kind,
        &columns.subject,
        &columns.issuer,
        &columns.key_id,
        &columns.groups,
        &columns.project,
        &columns.measures,
        &columns.outcome,
        &columns.http_status,
        &columns.bundle_revision,
        &columns.attempts,
        &columns.time_to_first_byte_ms as &[Option<i64>],
        &columns.duration_ms,
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected())
}

/// In the order of the keys, so that two batches never wait for each other in a circle.
pub(crate) async fn add_to_hours(
    connection: &mut PgConnection,
    sums: &BTreeMap<HourKey, HourSum>,
) -> Result<(), DbError> {
    let text = |of: fn(&HourKey) -> &String| sums.keys().map(|key| of(key).clone()).collect::<Vec<_>>();
    let (tenants, issuers, subjects) =
        (text(|key| &key.tenant), text(|key| &key.issuer), text(|key| &key.subject));
    let (models, kinds) = (text(|key| &key.model), text(|key| &key.kind));
    let hours: Vec<i64> = sums.keys().map(|key| key.hour).collect();
    let principal_kinds: Vec<i16> = sums.keys().map(|key| key.principal_kind).collect();
    let sources: Vec<i16> = sums.keys().map(|key| key.source).collect();
    // A number of 64 bits without a sign is no type of Postgres'.
    let quantities: Vec<String> = sums.values().map(|sum| sum.quantity.to_string()).collect();
    let requests: Vec<i64> = sums.values().map(|sum| sum.requests).collect();
    sqlx::query!(
        "insert into usage_hour (tenant_id, hour, principal_kind, issuer, subject, model, kind, source, quantity, requests)
         select tenant_id, to_timestamp(hour), principal_kind, issuer, subject, model, kind, source, quantity::numeric,
             requests
         from unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::smallint[], $9::text[], $10::bigint[])
             as sum (tenant_id, hour, principal_kind, issuer, subject, model, kind, source, quantity, requests)
         on conflict (tenant_id, hour, principal_kind, issuer, subject, model, kind, source) do update set
             quantity = usage_hour.quantity + excluded.quantity, requests = usage_hour.requests + excluded.requests",
        &tenants,
        &hours,
        &principal_kinds,
        &issuers,
        &subjects,
        &models,
        &kinds,
        &sources,
        &quantities,
        &requests,
    )
    .execute(connection)
    .await?;
    Ok(())
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
