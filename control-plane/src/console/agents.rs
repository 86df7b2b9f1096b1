//! Agents: how each is, what it found, the end of one; and how one joins.

use super::{
    error::Failure,
    form::{Field, FormPage, Kind, Posted, Question, SecretPage, Sent, Visitor, Wrong},
    page::{Shell, next_path, number, page, see, time},
    paging::After,
};
use crate::{
    auth::Session,
    db::{fleet, pools},
    domain::{
        fleet::{AgentRecord, AgentReport, AgentState, EngineReport, IssuerReport},
        page::Page,
    },
    ops::{JOIN_TOKEN_LIFE, create_join_token, revoke_agent},
    state::App,
};
use askama::Template;
use attach_proto::id::AgentId;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use jiff::Timestamp;

#[derive(Template)]
#[template(path = "agents.html")]
struct Agents {
    shell: Shell,
    agents: Vec<Agent>,
    next: Option<String>,
}

struct Agent {
    id: String,
    host: String,
    pool: String,
    state: &'static str,
    class: &'static str,
    is_good: bool,
    enrolled: String,
    /// What somebody should look at.
    problems: Vec<String>,
    facts: Vec<(&'static str, String)>,
    engines: Vec<EngineReport>,
    /// How many there are, in a line.
    issuers_told: String,
    issuers: Vec<Issuer>,
    path: String,
}

struct Issuer {
    /// What somebody should look at comes first.
    rank: u8,
    name: String,
    state: &'static str,
    class: &'static str,
    keys: String,
    fetched: String,
    problem: String,
}

impl From<IssuerReport> for Issuer {
    fn from(report: IssuerReport) -> Self {
        let (rank, state, class) = match (report.is_usable, report.is_stale || report.problem.is_some()) {
            (false, _) => (0, "no keys", "bad"),
            (true, true) => (1, "old keys", "warn"),
            (true, false) => (2, "good", "good"),
        };
        let skipped = match report.skipped_keys {
            0 => String::new(),
            skipped => format!(", {skipped} not usable"),
        };
        Self {
            rank,
            name: report.issuer,
            state,
            class,
            keys: format!("{}{skipped}", report.keys),
            fetched: match (report.fetched_at, report.source.as_deref()) {
                (Some(at), _) => time(at),
                (None, Some("control plane")) => "by this control plane".to_owned(),
                (None, Some("bundle")) => "came with the configuration".to_owned(),
                (None, _) => "never".to_owned(),
            },
            problem: report.problem.unwrap_or_default(),
        }
    }
}

impl Agent {
    fn new(agent: AgentRecord, now: Timestamp) -> Self {
        let state = agent.state(now);
        let (problems, facts) = match &agent.report {
            Some(report) => (problems(report), facts(report, agent.pool_revision)),
            None => (Vec::new(), Vec::new()),
        };
        let (engines, issuers) =
            agent.report.map(|report| (report.engines, report.issuers)).unwrap_or_default();
        let mut issuers: Vec<_> = issuers.into_iter().map(Issuer::from).collect();
        issuers.sort_by_key(|issuer| issuer.rank);
        Self {
            path: format!("/agents/{}", agent.id),
            id: agent.id.into(),
            host: agent.host,
            pool: agent.pool.into(),
            state: state.name(),
            class: match state {
                AgentState::Online => "good",
                AgentState::Offline | AgentState::Revoked => "bad",
                AgentState::NeverConnected => "warn",
            },
            is_good: agent.revoked_at.is_none(),
            enrolled: time(agent.enrolled_at),
            problems,
            facts,
            engines,
            issuers_told: issuers_text(&issuers),
            issuers,
        }
    }
}

/// Such as “Issuers of its callers' tokens: 4 without keys, 20 good”.
fn issuers_text(issuers: &[Issuer]) -> String {
    let count = |rank| issuers.iter().filter(|issuer| issuer.rank == rank).count();
    let states = [(count(0), "without keys"), (count(1), "with old keys"), (count(2), "good")];
    let states = states.iter().filter(|(count, _)| *count > 0);
    let states: Vec<_> = states.map(|(count, state)| format!("{count} {state}")).collect();
    format!("Issuers of its callers' tokens: {}", states.join(", "))
}

fn problems(report: &AgentReport) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some((revision, why)) = &report.refusal {
        problems.push(format!("It refused revision {revision}, and serves the one before: {why}"));
    }
    if !report.missing_features.is_empty() {
        let missing = report.missing_features.join(", ");
        problems.push(format!("It is too old for its pool: it does not know {missing}. Update it."));
    }
    problems
}

fn facts(report: &AgentReport, pool_revision: i64) -> Vec<(&'static str, String)> {
    let revision = if report.applied_revision >= pool_revision {
        format!("{}, the pool's", report.applied_revision)
    } else {
        format!("{}, the pool is at {pool_revision}", report.applied_revision)
    };
    let clock = match report.clock_offset_ms {
        None => "not measured yet".to_owned(),
        Some(0) => "as ours".to_owned(),
        Some(ahead) if ahead > 0 => format!("{} ms ahead", number(ahead)),
        Some(behind) => format!("{} ms behind", number(behind.saturating_neg())),
    };
    vec![
        ("Version", report.program_version.clone()),
        ("Last heard of", time(report.last_seen_at)),
        ("Configuration", revision),
        ("Clock", clock),
        ("Usage not sent yet", format!("{} events", number(report.unacknowledged_events))),
    ]
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let mut tx = app.db.operator().await?;
    let part = fleet::agents(tx.connection(), &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|agent| agent.id.to_string());
    let now = app.clock.now();
    Ok(page(&Agents {
        shell: Shell::new(&session, "Agents", "Agents"),
        next: next_path("/agents", last.as_deref()),
        agents: part.items.into_iter().map(|agent| Agent::new(agent, now)).collect(),
    }))
}

pub(super) async fn ask_revoke(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(agent): Path<String>,
) -> Result<Response, Failure> {
    let id: AgentId = agent.parse().map_err(|_| Failure::NotFound("agent"))?;
    let mut tx = app.db.operator().await?;
    let agent = fleet::agent(tx.connection(), &id).await?.ok_or(Failure::NotFound("agent"))?;
    let question = Question {
        title: format!("Revoke {}?", agent.host),
        text: "Its streams close within seconds, and nothing more is taken from it. To come back it must join again."
            .to_owned(),
        action: format!("/agents/{id}/revoke"),
        button: "Revoke the agent",
        back: "/agents".to_owned(),
    };
    Ok(question.page(&session, "Agents"))
}

pub(super) async fn revoke(
    State(app): State<App>,
    Path(agent): Path<String>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let id = agent.parse().map_err(|_| Failure::NotFound("agent"))?;
    revoke_agent(&app.db, &session.actor(), &id).await?;
    Ok(see("/agents"))
}

pub(super) async fn join(Visitor(session): Visitor, State(app): State<App>) -> Result<Response, Failure> {
    join_form(&app, &session, &Sent::default(), None).await
}

async fn join_form(
    app: &App,
    session: &Session,
    sent: &Sent,
    wrong: Option<Wrong>,
) -> Result<Response, Failure> {
    let mut tx = app.db.operator().await?;
    let pools = pools::list(tx.connection(), &Page::first()).await?.items;
    let pools = pools.into_iter().map(|pool| (pool.id.to_string(), format!("{} ({})", pool.name, pool.id)));
    let hint = "Whose configuration the gateway will serve.";
    let fields = vec![Field::new(Kind::Choice(pools.collect()), "pool", "Pool", hint, sent.text("pool"))];
    let mut form = FormPage::new(session, "Agents", "Make a join token", "/agents/join", "/agents", fields);
    form.parent = Some(("Agents".to_owned(), "/agents".to_owned()));
    form.text = "A GPU host joins a pool with a token. Each is good for one host and one hour.";
    form.button = "Make the join token";
    Ok(form.answer(wrong))
}

pub(super) async fn create_token(
    State(app): State<App>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let now = app.clock.now();
    let wrong = match sent.text("pool").parse() {
        Ok(pool) => {
            let pin = app.authority_sha256;
            match create_join_token(&app.db, &session.actor(), pin, &pool, JOIN_TOKEN_LIFE, now).await {
                Ok((token, expires_at)) => {
                    return Ok(page(&SecretPage {
                        shell: Shell::new(&session, "Agents", "Paste this line on the GPU host"),
                        text: "This is the only time that it is shown. It is good for one host.",
                        secret: app.join_line(&token),
                        after: format!(
                            "It is good until {}. Then the host runs: attach-gateway",
                            time(expires_at)
                        ),
                        back: "/agents".to_owned(),
                    }));
                }
                Err(error) => Wrong::of(error)?,
            }
        }
        Err(_) => Wrong::new("pool", "is missing: make a pool first"),
    };
    join_form(&app, &session, &sent, Some(wrong)).await
}
