//! Events, many at a time.

use crate::db::DbError;
use attach_proto::id::{AgentId, PoolId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

/// Events by their columns.
#[derive(Debug, Default)]
pub(crate) struct Columns<'a> {
    pub(crate) tenant: Vec<&'a str>,
    pub(crate) occurred_at_us: Vec<i64>,
    pub(crate) event_id: Vec<Uuid>,
    pub(crate) seq: Vec<i64>,
    pub(crate) sha256: Vec<Vec<u8>>,
    pub(crate) request_id: Vec<&'a str>,
    pub(crate) operation: Vec<&'a str>,
    pub(crate) dialect: Vec<&'a str>,
    pub(crate) model: Vec<&'a str>,
    pub(crate) stream: Vec<bool>,
    pub(crate) principal_kind: Vec<i16>,
    pub(crate) subject: Vec<&'a str>,
    pub(crate) issuer: Vec<&'a str>,
    pub(crate) key_id: Vec<&'a str>,
    pub(crate) groups: Vec<Json<&'a [String]>>,
    pub(crate) project: Vec<&'a str>,
    pub(crate) measures: Vec<Json<Vec<Measure<'a>>>>,
    pub(crate) outcome: Vec<i16>,
    pub(crate) http_status: Vec<i16>,
    pub(crate) bundle_revision: Vec<i64>,
    pub(crate) attempts: Vec<Json<Vec<Attempt<'a>>>>,
    pub(crate) time_to_first_byte_ms: Vec<Option<i64>>,
    pub(crate) duration_ms: Vec<i64>,
}

/// As the column `measures` keeps it.
#[derive(Debug, Serialize)]
pub(crate) struct Measure<'a> {
    pub(crate) kind: &'a str,
    pub(crate) quantity: u64,
    pub(crate) source: i16,
}

/// As the column `attempts` keeps it.
#[derive(Debug, Serialize)]
pub(crate) struct Attempt<'a> {
    pub(crate) upstream: &'a str,
    pub(crate) engine_model: Option<&'a str>,
    pub(crate) http_status: Option<u16>,
    pub(crate) error: Option<&'a str>,
}

/// Whether all of them were new; if not, the transaction is to be given up. To pass over what is there would be another way
/// (`on conflict do nothing`), but each row would be looked for before it is written, which takes a third longer, and an
/// event hardly ever comes by two spools.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    pool: &PoolId,
    agent: &AgentId,
    spool: Uuid,
    now: Timestamp,
    columns: &Columns<'_>,
) -> Result<bool, DbError> {
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
                         bundle_revision, attempts, time_to_first_byte_ms, duration_ms)"#,
        now.to_sqlx() as jiff_sqlx::Timestamp,
        pool.as_str(),
        agent.as_str(),
        spool,
        &columns.tenant as &[&str],
        &columns.occurred_at_us,
        &columns.event_id,
        &columns.seq,
        &columns.sha256,
        &columns.request_id as &[&str],
        &columns.operation as &[&str],
        &columns.dialect as &[&str],
        &columns.model as &[&str],
        &columns.stream,
        &columns.principal_kind,
        &columns.subject as &[&str],
        &columns.issuer as &[&str],
        &columns.key_id as &[&str],
        &columns.groups as &[Json<&[String]>],
        &columns.project as &[&str],
        &columns.measures as &[Json<Vec<Measure<'_>>>],
        &columns.outcome,
        &columns.http_status,
        &columns.bundle_revision,
        &columns.attempts as &[Json<Vec<Attempt<'_>>>],
        &columns.time_to_first_byte_ms as &[Option<i64>],
        &columns.duration_ms,
    )
    .execute(connection)
    .await;
    match inserted.map_err(DbError::from) {
        Ok(_) => Ok(true),
        // The key's name is that of the partition.
        Err(DbError::Conflict { constraint }) if constraint.ends_with("_pkey") => Ok(false),
        Err(error) => Err(error),
    }
}
