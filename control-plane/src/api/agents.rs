//! Agents.

use super::{
    extract::{Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
};
use crate::{
    db::fleet,
    domain::fleet::{AgentRecord, AgentReport, AgentState, EngineReport, IssuerReport},
    ops::revoke_agent,
    state::App,
};
use attach_proto::id::AgentId;
use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Revoked,
    NeverConnected,
    Offline,
    Online,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Agent {
    id: String,
    pool: String,
    host: String,
    state: Standing,
    #[schema(value_type = String, format = DateTime)]
    enrolled_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// Of the last change that it was to hear of.
    pool_revision: i64,
    /// What it said of itself last.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Report {
    program_version: String,
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    applied_revision: i64,
    /// The last revision that it would not take.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// What its pool needs and it can't do: it is too old.
    missing_features: Vec<String>,
    /// How far its clock is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_offset_ms: Option<i64>,
    unacknowledged_events: i64,
    engines: Vec<Engine>,
    /// Of its callers' tokens; those in trouble first, and no more than 50.
    issuers: Vec<Issuer>,
}

/// How it stands with an issuer's keys at this agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Issuer {
    issuer: String,
    /// Where its keys come from, when that is not its metadata: an address, or `bundle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    keys: u32,
    /// Keys of its set that are not used.
    skipped_keys: u32,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched_at: Option<Timestamp>,
    /// The keys should have been renewed.
    stale: bool,
    /// Its tokens can be verified.
    usable: bool,
    /// Why its keys can't be renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<IssuerReport> for Issuer {
    fn from(report: IssuerReport) -> Self {
        let IssuerReport { issuer, source, keys, skipped_keys, fetched_at, is_stale, is_usable, problem } =
            report;
        Self { issuer, source, keys, skipped_keys, fetched_at, stale: is_stale, usable: is_usable, problem }
    }
}

/// An engine that its host declares.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Engine {
    id: String,
    kind: String,
    models: Vec<String>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<AgentReport> for Report {
    fn from(report: AgentReport) -> Self {
        let (refused_revision, refusal) = report.refusal.unzip();
        let engine = |EngineReport { id, kind, models, problem }| Engine { id, kind, models, problem };
        Self {
            program_version: report.program_version,
            last_seen_at: report.last_seen_at,
            applied_revision: report.applied_revision,
            refused_revision,
            refusal,
            missing_features: report.missing_features,
            clock_offset_ms: report.clock_offset_ms,
            unacknowledged_events: report.unacknowledged_events,
            engines: report.engines.into_iter().map(engine).collect(),
            issuers: report.issuers.into_iter().map(Issuer::from).collect(),
        }
    }
}

impl Agent {
    fn new(agent: AgentRecord, now: Timestamp) -> Self {
        let state = match agent.state(now) {
            AgentState::Revoked => Standing::Revoked,
            AgentState::NeverConnected => Standing::NeverConnected,
            AgentState::Offline => Standing::Offline,
            AgentState::Online => Standing::Online,
        };
        Self {
            id: agent.id.into(),
            pool: agent.pool.into(),
            host: agent.host,
            state,
            enrolled_at: agent.enrolled_at,
            revoked_at: agent.revoked_at,
            pool_revision: agent.pool_revision,
            report: agent.report.map(Report::from),
        }
    }
}

/// All agents, revoked ones too, in the order of their ids.
#[utoipa::path(get, path = "/agents", operation_id = "list_agents", tag = "Agents", params(Paging),
    responses((status = 200, body = List<Agent>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Agent>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let part = fleet::agents(tx.connection(), &page).await?;
    let now = app.clock.now();
    Ok(Json(List::new(part, |agent| agent.id.to_string(), |agent| Agent::new(agent, now))))
}

#[utoipa::path(get, path = "/agents/{agent}", operation_id = "get_agent", tag = "Agents",
    params(("agent" = String, Path)), responses((status = 200, body = Agent)))]
pub(super) async fn get(
    _: Operator,
    State(app): State<App>,
    Named(agent): Named<AgentId>,
) -> Result<Json<Agent>, Problem> {
    let mut tx = app.db.operator().await?;
    let found = fleet::agent(tx.connection(), &agent).await?;
    let found = found.ok_or_else(|| Problem::not_found("agent"))?;
    Ok(Json(Agent::new(found, app.clock.now())))
}

/// The end of an agent: its streams close, and nothing more is taken from it.
#[utoipa::path(post, path = "/agents/{agent}/revoke", operation_id = "revoke_agent", tag = "Agents",
    params(("agent" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    Operator(actor): Operator,
    State(app): State<App>,
    Named(agent): Named<AgentId>,
) -> Result<StatusCode, Problem> {
    revoke_agent(&app.db, &actor, &agent).await?;
    Ok(StatusCode::NO_CONTENT)
}
