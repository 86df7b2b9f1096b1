//! Why a credential or a request is refused.

use super::{
    extract::{Body, Named, Operator},
    problem::Problem,
};
use crate::{
    ops::{Asking, ask_gateways},
    questions,
    state::App,
};
use attach_proto::{
    id::{AgentId, TenantId},
    v1::{self, answer},
};
use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// A token, an API key or a proof of a DID, with or without `Bearer` before it; at most 32 KiB. It goes to the tenant's
    /// gateways and is kept nowhere.
    #[serde(default)]
    credential: String,
    /// As the header `X-Request-Id` of the answer had it.
    #[serde(default)]
    request_id: String,
}

/// What the tenant's gateways say that are connected to this control plane.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answers {
    answers: Vec<Answer>,
    /// Gateways that did not answer within 5 s.
    silent: Vec<String>,
    /// Gateways whose version answers no questions.
    too_old: Vec<String>,
    /// How many are connected and were not asked, for 20 were.
    not_asked: usize,
}

/// It has one of `explanation`, `refusals` and `problem`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// All that say so.
    agents: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
    /// Those with the request's id, the last first.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<Vec<Vec<Fact>>>,
    /// There are refusals of callers who were not identified, at gateways that serve other tenants too: only
    /// `attach-gateway explain` on the gateway's host shows them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_unidentified: bool,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// How a credential fares.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// What it was taken for; empty for what is no credential.
    kind: String,
    accepted: bool,
    /// Whether its signature was verified, or it is a key that is known; else what is quoted of it is its own word.
    verified: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// Of the configuration that it was held against.
    revision: u64,
    /// All, in the order in which they are made.
    checks: Vec<Check>,
    /// Of one that is accepted: whom it proves, and what that caller may do.
    caller: Vec<Fact>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Check {
    name: String,
    /// What holds when it passes.
    title: String,
    outcome: Outcome,
    /// How it fails, by the gateway's word for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    /// What to change.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Passed,
    /// Requests are refused for this one.
    Failed,
    /// It comes after that one, and would fail as well.
    AlsoFails,
    NotReached,
    NotApplicable,
    /// Of a gateway that is newer than this control plane.
    Unknown,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fact {
    name: String,
    values: Vec<String>,
}

/// Each check that a credential of the tenant goes through, or why a request was refused. Waits 5 s at most, and goes into the
/// audit trail: of a credential with a part of its SHA-256, and never with itself.
#[utoipa::path(post, path = "/tenants/{tenant}/explain", operation_id = "explain", tag = "Explanations",
    params(("tenant" = String, Path)), request_body = Question, responses((status = 200, body = Answers)))]
pub(super) async fn explain(
    Operator(actor): Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Body(Question { credential, request_id }): Body<Question>,
) -> Result<Json<Answers>, Problem> {
    let asking = Asking { credential, request_id };
    let answers = ask_gateways(&app.db, &actor, &tenant, asking, &app.questions).await?;
    if answers.is_busy {
        return Err(Problem::busy("Too many questions are being asked; ask again in a few seconds."));
    }
    Ok(Json(answers.into()))
}

impl From<questions::Answers> for Answers {
    fn from(answers: questions::Answers) -> Self {
        let questions::Answers { said, silent, too_old, not_asked, is_busy: _ } = answers;
        let ids = |agents: Vec<AgentId>| agents.into_iter().map(Into::into).collect();
        let answer = |(agents, said): (Vec<AgentId>, answer::Answer)| {
            let none = Answer {
                agents: ids(agents),
                explanation: None,
                refusals: None,
                has_unidentified: false,
                problem: None,
            };
            match said {
                answer::Answer::Explanation(it) => Answer { explanation: Some(it.into()), ..none },
                answer::Answer::Refusals(v1::Refusals { refusals, has_unidentified }) => {
                    let refusals = refusals.into_iter().map(|refusal| facts(refusal.facts)).collect();
                    Answer { refusals: Some(refusals), has_unidentified, ..none }
                }
                answer::Answer::Problem(problem) => Answer { problem: Some(problem), ..none },
            }
        };
        Self {
            answers: said.into_iter().map(answer).collect(),
            silent: ids(silent),
            too_old: ids(too_old),
            not_asked,
        }
    }
}

impl From<v1::Explanation> for Explanation {
    fn from(explanation: v1::Explanation) -> Self {
        let v1::Explanation { kind, accepted, checks, caller, verified, at, bundle_revision } = explanation;
        Self {
            kind,
            accepted,
            verified,
            at: at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()),
            revision: bundle_revision,
            checks: checks.into_iter().map(Check::from).collect(),
            caller: facts(caller),
        }
    }
}

impl From<v1::ExplainedCheck> for Check {
    fn from(check: v1::ExplainedCheck) -> Self {
        let outcome = match check.outcome() {
            v1::CheckOutcome::Passed => Outcome::Passed,
            v1::CheckOutcome::Failed => Outcome::Failed,
            v1::CheckOutcome::AlsoFails => Outcome::AlsoFails,
            v1::CheckOutcome::NotReached => Outcome::NotReached,
            v1::CheckOutcome::NotApplicable => Outcome::NotApplicable,
            v1::CheckOutcome::Unspecified => Outcome::Unknown,
        };
        let v1::ExplainedCheck { name, title, outcome: _, code, reason, advice } = check;
        Self { name, title, outcome, code, reason, advice }
    }
}

fn facts(facts: Vec<v1::Fact>) -> Vec<Fact> {
    facts.into_iter().map(|v1::Fact { name, values }| Fact { name, values }).collect()
}
