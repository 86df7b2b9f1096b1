//! Usage: sums from the hourly roll-ups, and single requests without their content.

use super::{
    extract::{Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
    tenants,
};
use crate::{
    db::consumption::{self, EventPlace, MAX_SUMS},
    domain::usage::{EventRecord, Step, UsageQuery, UsageSum, UsageUser},
    state::App,
};
use attach_proto::id::TenantId;
use axum::{Json, extract::State};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// The longest time that one question is about: a leap year.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Without a word, the last day.
const USUAL: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StepName {
    Hour,
    Day,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageParams {
    /// The first moment, counted by whole hours; a day before `to` without a word.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The moment after the last; now without a word.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// One sum for each hour or day (UTC); one for the whole time without a word.
    #[param(inline)]
    step: Option<StepName>,
    /// What else to split by: `user`, `model`, or `user,model`.
    by: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    sums: Vec<Sum>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sum {
    /// The beginning of its hour or day.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    requests: i64,
    quantities: Vec<Quantity>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// `user`, `service`, `key` or `did`.
    kind: &'static str,
    /// Empty for keys.
    issuer: String,
    subject: String,
}

impl From<UsageUser> for User {
    fn from(UsageUser { kind, issuer, subject }: UsageUser) -> Self {
        Self { kind, issuer, subject }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quantity {
    /// Such as `input_tokens`; kinds will grow.
    kind: String,
    quantity: i64,
}

impl From<UsageSum> for Sum {
    fn from(UsageSum { start, user, model, requests, quantities }: UsageSum) -> Self {
        let quantity = |(kind, quantity)| Quantity { kind, quantity };
        Self {
            start,
            user: user.map(User::from),
            model,
            requests,
            quantities: quantities.into_iter().map(quantity).collect(),
        }
    }
}

/// A tenant's usage, summed up.
#[utoipa::path(get, path = "/tenants/{tenant}/usage", operation_id = "get_usage", tag = "Usage",
    params(("tenant" = String, Path), UsageParams), responses((status = 200, body = Usage)))]
pub(super) async fn get(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Params(params): Params<UsageParams>,
) -> Result<Json<Usage>, Problem> {
    let query = query(&params, app.clock.now())?;
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let sums = consumption::sums(connection, tenant, &query).await?.ok_or_else(|| {
        Problem::malformed(format!(
            "These are more than {MAX_SUMS} sums; ask for a shorter time, a longer step, or a coarser split."
        ))
    })?;
    Ok(Json(Usage { from: query.from, to: query.to, sums: sums.into_iter().map(Sum::from).collect() }))
}

fn query(params: &UsageParams, now: Timestamp) -> Result<UsageQuery, Problem> {
    let to = params.to.unwrap_or(now);
    let from = match params.from {
        Some(from) => from,
        None => to.saturating_sub(USUAL).map_err(|_| Problem::field("to", "is no moment of ours"))?,
    };
    if from >= to {
        return Err(Problem::field("from", "must be before `to`"));
    }
    if to.duration_since(from) > LONGEST {
        return Err(Problem::field("from", "must be at most 366 days before `to`"));
    }
    let (mut by_user, mut by_model) = (false, false);
    for word in params.by.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        match word {
            "user" => by_user = true,
            "model" => by_model = true,
            other => return Err(Problem::field("by", format!("{other:?} is not one of user, model"))),
        }
    }
    let step = params.step.map(|step| match step {
        StepName::Hour => Step::Hour,
        StepName::Day => Step::Day,
    });
    Ok(UsageQuery { from, to, step, by_user, by_model })
}

/// One request, without its content.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    event_id: String,
    /// By the agent's clock.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    request_id: String,
    pool: String,
    agent: String,
    operation: String,
    dialect: String,
    model: String,
    stream: bool,
    user: User,
    /// The API key's id; empty for tokens.
    key: String,
    #[schema(value_type = Vec<String>)]
    groups: Value,
    project: String,
    /// `[{"kind", "quantity", "source"}]`
    #[schema(value_type = Vec<Object>)]
    measures: Value,
    /// `complete`, `client_gone`, `engine_error`, `cut` or `timed_out`.
    outcome: &'static str,
    /// 0 when the caller left before one was sent.
    http_status: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
}

impl From<EventRecord> for Event {
    fn from(event: EventRecord) -> Self {
        Self {
            event_id: event.event_id,
            occurred_at: event.occurred_at,
            request_id: event.request_id,
            pool: event.pool,
            agent: event.agent,
            operation: event.operation,
            dialect: event.dialect,
            model: event.model,
            stream: event.stream,
            user: event.user.into(),
            key: event.key,
            groups: event.groups,
            project: event.project,
            measures: event.measures,
            outcome: event.outcome,
            http_status: event.http_status,
            duration_ms: event.duration_ms,
        }
    }
}

/// A tenant's requests, the last first.
#[utoipa::path(get, path = "/tenants/{tenant}/usage-events", operation_id = "list_usage_events", tag = "Usage",
    params(("tenant" = String, Path), Paging), responses((status = 200, body = List<Event>)))]
pub(super) async fn events(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Event>>, Problem> {
    let page = paging.page()?;
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = consumption::events(connection, tenant, &page).await?;
    let place =
        |event: &EventRecord| EventPlace { occurred_at: event.occurred_at, event_id: event.event_id.clone() };
    Ok(Json(List::new(part, place, Event::from)))
}
