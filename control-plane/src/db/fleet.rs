//! Agents and join tokens, as the operator sees them.

use super::DbError;
use crate::domain::{
    fleet::{AgentRecord, AgentReport, EngineReport, IssuerReport, JoinTokenRecord},
    page::{Page, Part},
};
use attach_proto::{
    id::AgentId,
    v1::{IssuerHealth, Upstream, UpstreamHealth, UpstreamKind},
};
use jiff_sqlx::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;

struct Row {
    id: String,
    pool_id: String,
    host: String,
    enrolled_at: Timestamp,
    revoked_at: Option<Timestamp>,
    pool_revision: i64,
    program_version: Option<String>,
    upstreams: Option<Value>,
    health: Option<Value>,
    issuers: Option<Value>,
    last_seen_at: Option<Timestamp>,
    disconnected_at: Option<Timestamp>,
    applied_revision: Option<i64>,
    refused_revision: Option<i64>,
    refusal: Option<String>,
    missing_features: Option<Vec<String>>,
    clock_offset_ms: Option<i64>,
    unacknowledged_events: Option<i64>,
}

impl TryFrom<Row> for AgentRecord {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let corrupt = || DbError::corrupt("agent", &row.id);
        let report = match (row.program_version, row.last_seen_at) {
            (Some(program_version), Some(last_seen_at)) => Some(AgentReport {
                program_version,
                last_seen_at: last_seen_at.to_jiff(),
                is_connected: row.disconnected_at.is_none(),
                applied_revision: row.applied_revision.unwrap_or_default(),
                refusal: row.refused_revision.zip(row.refusal),
                missing_features: row.missing_features.unwrap_or_default(),
                clock_offset_ms: row.clock_offset_ms,
                unacknowledged_events: row.unacknowledged_events.unwrap_or_default(),
                engines: engines(row.upstreams, row.health),
                issuers: issuers(row.issuers),
            }),
            (None, _) | (_, None) => None,
        };
        Ok(Self {
            id: row.id.parse().map_err(|_| corrupt())?,
            pool: row.pool_id.parse().map_err(|_| corrupt())?,
            host: row.host,
            enrolled_at: row.enrolled_at.to_jiff(),
            revoked_at: row.revoked_at.map(Timestamp::to_jiff),
            pool_revision: row.pool_revision,
            report,
        })
    }
}

/// What the host declares, with what the agent found there. What another version wrote, and this one can't read, is left out:
/// one agent is no reason to show none.
fn engines(upstreams: Option<Value>, health: Option<Value>) -> Vec<EngineReport> {
    let upstreams = upstreams.and_then(|value| serde_json::from_value::<Vec<Upstream>>(value).ok());
    let health = health.and_then(|value| serde_json::from_value::<Vec<UpstreamHealth>>(value).ok());
    let health = health.unwrap_or_default();
    let engine = |upstream: Upstream| {
        let found = health.iter().find(|found| found.upstream == upstream.id);
        let kind = match upstream.kind() {
            UpstreamKind::Unspecified | UpstreamKind::Ollama => "Ollama",
            UpstreamKind::Vllm => "vLLM",
            UpstreamKind::Llamacpp => "llama.cpp",
            UpstreamKind::Openai => "OpenAI-compatible",
        };
        EngineReport {
            kind: kind.to_owned(),
            models: found.map(|found| found.models.clone()).unwrap_or_default(),
            problem: found.map(|found| found.problem.clone()).filter(|problem| !problem.is_empty()),
            id: upstream.id,
        }
    };
    upstreams.unwrap_or_default().into_iter().map(engine).collect()
}

/// By the same rule.
fn issuers(told: Option<Value>) -> Vec<IssuerReport> {
    let told = told.and_then(|value| serde_json::from_value::<Vec<IssuerHealth>>(value).ok());
    let moment = |at: pbjson_types::Timestamp| jiff::Timestamp::new(at.seconds, at.nanos).ok();
    let issuer = |told: IssuerHealth| IssuerReport {
        issuer: told.issuer,
        source: Some(told.source).filter(|source| !source.is_empty()),
        keys: told.keys,
        skipped_keys: told.skipped_keys,
        fetched_at: told.fetched_at.and_then(moment),
        is_stale: told.stale,
        is_usable: told.usable,
        problem: Some(told.problem).filter(|problem| !problem.is_empty()),
    };
    told.unwrap_or_default().into_iter().map(issuer).collect()
}

/// In the order of their ids.
pub(crate) async fn agents(
    connection: &mut PgConnection,
    page: &Page<String>,
) -> Result<Part<AgentRecord>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select agent.id, agent.pool_id, agent.host, agent.enrolled_at as "enrolled_at: Timestamp",
               agent.revoked_at as "revoked_at: Timestamp", pool.revision as pool_revision,
               state.program_version as "program_version?", state.upstreams as "upstreams?", state.health as "health?",
               state.issuers as "issuers?",
               state.last_seen_at as "last_seen_at?: Timestamp", state.disconnected_at as "disconnected_at?: Timestamp",
               state.applied_revision as "applied_revision?", state.refused_revision, state.refusal,
               state.missing_features as "missing_features?", state.clock_offset_ms,
               state.unacknowledged_events as "unacknowledged_events?"
           from agent join pool on pool.id = agent.pool_id left join agent_state state on state.agent_id = agent.id
           where $1::text is null or agent.id > $1 order by agent.id limit $2"#,
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let agents = rows.into_iter().map(AgentRecord::try_from).collect::<Result<_, _>>()?;
    Ok(page.part(agents))
}

pub(crate) async fn agent(
    connection: &mut PgConnection,
    id: &AgentId,
) -> Result<Option<AgentRecord>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"select agent.id, agent.pool_id, agent.host, agent.enrolled_at as "enrolled_at: Timestamp",
               agent.revoked_at as "revoked_at: Timestamp", pool.revision as pool_revision,
               state.program_version as "program_version?", state.upstreams as "upstreams?", state.health as "health?",
               state.issuers as "issuers?",
               state.last_seen_at as "last_seen_at?: Timestamp", state.disconnected_at as "disconnected_at?: Timestamp",
               state.applied_revision as "applied_revision?", state.refused_revision, state.refusal,
               state.missing_features as "missing_features?", state.clock_offset_ms,
               state.unacknowledged_events as "unacknowledged_events?"
           from agent join pool on pool.id = agent.pool_id left join agent_state state on state.agent_id = agent.id
           where agent.id = $1"#,
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(AgentRecord::try_from).transpose()
}

/// How many agents there are that were not revoked.
pub(crate) async fn agent_count(connection: &mut PgConnection) -> Result<i64, DbError> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from agent where revoked_at is null"#)
        .fetch_one(connection)
        .await?;
    Ok(count)
}

/// How many of them are connected, and were heard of since.
pub(crate) async fn online_count(
    connection: &mut PgConnection,
    since: jiff::Timestamp,
) -> Result<i64, DbError> {
    use jiff_sqlx::ToSqlx as _;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from agent_state state join agent on agent.id = state.agent_id
           where agent.revoked_at is null and state.disconnected_at is null and state.last_seen_at >= $1"#,
        since.to_sqlx() as Timestamp,
    )
    .fetch_one(connection)
    .await?;
    Ok(count)
}

/// In the order of their ids.
pub(crate) async fn join_tokens(
    connection: &mut PgConnection,
    page: &Page<String>,
) -> Result<Part<JoinTokenRecord>, DbError> {
    let rows = sqlx::query!(
        r#"select id, pool_id, created_at as "created_at: Timestamp", expires_at as "expires_at: Timestamp",
               used_at as "used_at: Timestamp", agent_id, revoked_at as "revoked_at: Timestamp"
           from join_token where $1::text is null or id > $1 order by id limit $2"#,
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let tokens = rows.into_iter().map(|row| {
        Ok(JoinTokenRecord {
            pool: row.pool_id.parse().map_err(|_| DbError::corrupt("join_token", &row.id))?,
            id: row.id,
            created_at: row.created_at.to_jiff(),
            expires_at: row.expires_at.to_jiff(),
            used_at: row.used_at.map(Timestamp::to_jiff),
            agent: row.agent_id,
            revoked_at: row.revoked_at.map(Timestamp::to_jiff),
        })
    });
    Ok(page.part(tokens.collect::<Result<_, DbError>>()?))
}
