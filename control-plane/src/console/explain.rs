//! Why a credential or a request of a tenant is refused: a form, and below it what the tenant's gateways say.

use super::{
    error::Failure,
    form::{Field, Kind, Posted, Visitor, Wrong},
    page::{Shell, page, page_with},
    tenants::{self, TenantView},
};
use crate::{
    auth::Session,
    db::fleet,
    ops::{Asking, ask_gateways},
    questions,
    state::App,
};
use askama::Template;
use attach_proto::{
    id::{AgentId, TenantId},
    v1::{CheckOutcome, ExplainedCheck, Explanation, Fact, Refusals, answer},
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};

#[derive(Template)]
#[template(path = "explain.html")]
struct Explain {
    shell: Shell,
    tenant: TenantView,
    tab: &'static str,
    csrf: String,
    problem: Option<String>,
    fields: Vec<Field>,
    /// `None` before anything was asked.
    said: Option<Vec<Said>>,
    notes: Vec<String>,
}

/// What some of the gateways say.
struct Said {
    /// Of their hosts.
    names: String,
    verdict: &'static str,
    class: &'static str,
    about: String,
    checks: Vec<Row>,
    lists: Vec<List>,
}

struct Row {
    title: String,
    mark: &'static str,
    class: &'static str,
    reason: String,
    advice: String,
}

/// Of a caller, or of a refusal.
struct List {
    title: &'static str,
    facts: Vec<(String, String)>,
}

impl From<ExplainedCheck> for Row {
    fn from(check: ExplainedCheck) -> Self {
        let (mark, class) = match check.outcome() {
            CheckOutcome::Passed => ("pass", "good"),
            CheckOutcome::Failed => ("fail", "bad"),
            CheckOutcome::AlsoFails => ("would also fail", "warn"),
            CheckOutcome::NotReached => ("not reached", "none"),
            CheckOutcome::NotApplicable => ("does not apply", "none"),
            CheckOutcome::Unspecified => ("unknown here", "none"),
        };
        let ExplainedCheck { title, reason, advice, .. } = check;
        Self { title, mark, class, reason, advice }
    }
}

fn list(title: &'static str, facts: Vec<Fact>) -> List {
    List { title, facts: facts.into_iter().map(|fact| (fact.name, fact.values.join(", "))).collect() }
}

impl Said {
    fn new(names: String, answer: answer::Answer) -> Self {
        let none = Self {
            names,
            verdict: "",
            class: "",
            about: String::new(),
            checks: Vec::new(),
            lists: Vec::new(),
        };
        match answer {
            answer::Answer::Explanation(explanation) => none.explanation(explanation),
            answer::Answer::Refusals(refusals) => none.refusals(refusals),
            answer::Answer::Problem(problem) => {
                Self { verdict: "no answer", class: "warn", about: problem, ..none }
            }
        }
    }

    fn explanation(self, explanation: Explanation) -> Self {
        let Explanation { kind, accepted, checks, caller, verified, at: _, bundle_revision } = explanation;
        let (verdict, class) = if accepted { ("taken", "good") } else { ("refused", "bad") };
        let kind = if kind.is_empty() { "no credential" } else { &kind };
        let doubt = " It was not verified: what is quoted of it is its own word.";
        let doubt = if accepted || verified { "" } else { doubt };
        let lists = if caller.is_empty() { Vec::new() } else { vec![list("Whom it proves", caller)] };
        Self {
            verdict,
            class,
            about: format!(
                "Taken for: {kind}. Checked by revision {bundle_revision} of the configuration.{doubt}"
            ),
            checks: checks.into_iter().map(Row::from).collect(),
            lists,
            ..self
        }
    }

    fn refusals(self, found: Refusals) -> Self {
        let Refusals { refusals, has_unidentified } = found;
        let about = if has_unidentified {
            "There are refusals with this id whose caller was not identified. These gateways serve other tenants too, so \
             they are shown on their hosts alone: attach-gateway explain REQUEST_ID"
        } else if refusals.is_empty() {
            "No refusal with this id: the request was served, went to another gateway, or is too long ago."
        } else {
            ""
        };
        let (verdict, class) = if refusals.is_empty() { ("not found", "none") } else { ("refused", "bad") };
        let lists = refusals.into_iter().map(|refusal| list("The request", refusal.facts)).collect();
        Self { verdict, class, about: about.to_owned(), lists, ..self }
    }
}

fn form(session: &Session, tenant: TenantView, request_id: String) -> Explain {
    let fields = vec![
        Field::new(
            Kind::Secret,
            "credential",
            "Token or key",
            "It goes to the gateways and is kept nowhere; the audit trail has a part of its hash.",
            "",
        ),
        Field::text(
            "request_id",
            "Or a request id",
            "The X-Request-Id of an answer that was refused.",
            request_id,
        ),
    ];
    Explain {
        shell: Shell::new(session, "Tenants", format!("Explain · {}", tenant.name)),
        tenant,
        tab: "Explain",
        csrf: session.csrf(),
        problem: None,
        fields,
        said: None,
        notes: Vec::new(),
    }
}

pub(super) async fn show(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    Ok(page(&form(&session, view, String::new())))
}

pub(super) async fn ask(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (tx, view) = tenants::open(&app, &tenant).await?;
    drop(tx);
    let id: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let asking = Asking { credential: sent.text("credential"), request_id: sent.text("request_id") };
    let answered = ask_gateways(&app.db, &session.actor(), &id, asking, &app.questions).await;
    let answers = match answered.map_err(Wrong::of) {
        Ok(answers) => answers,
        Err(wrong) => {
            let wrong = wrong?;
            // Not with what was sent: it may be a credential in the wrong field.
            let mut form = form(&session, view, String::new());
            Field::mark(form.fields.iter_mut(), &wrong);
            form.problem = Some(wrong.problem);
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &form));
        }
    };
    let mut form = form(&session, view, sent.text("request_id"));
    form.notes = notes(&answers);
    let mut said = Vec::new();
    for (agents, answer) in answers.said {
        said.push(Said::new(hosts(&app, &agents).await?, answer));
    }
    form.said = Some(said);
    Ok(page(&form))
}

async fn hosts(app: &App, agents: &[AgentId]) -> Result<String, Failure> {
    let mut tx = app.db.operator().await?;
    let mut names = Vec::new();
    for agent in agents {
        let found = fleet::agent(tx.connection(), agent).await?;
        names.push(found.map_or_else(|| agent.to_string(), |found| found.host));
    }
    names.sort();
    Ok(names.join(", "))
}

/// What else there is to say of the gateways.
fn notes(answers: &questions::Answers) -> Vec<String> {
    let questions::Answers { said, silent, too_old, not_asked, is_busy } = answers;
    if *is_busy {
        return vec!["Too many questions are being asked; ask again in a few seconds.".to_owned()];
    }
    let names = |agents: &[AgentId]| agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(", ");
    let mut notes = Vec::new();
    if !silent.is_empty() {
        notes.push(format!("Did not answer within 5 seconds: {}.", names(silent)));
    }
    if !too_old.is_empty() {
        notes.push(format!("Too old to answer questions, update them: {}.", names(too_old)));
    }
    if *not_asked > 0 {
        notes.push(format!("{not_asked} more gateways are connected, and were not asked."));
    }
    if said.is_empty() && notes.is_empty() {
        notes.push(
            "No gateway of this tenant's pools is connected to this control plane. On a gateway's host there is: \
             attach-gateway explain"
                .to_owned(),
        );
    }
    notes
}
