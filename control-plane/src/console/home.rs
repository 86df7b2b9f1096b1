//! The overview.

use super::{
    error::Failure,
    form::Visitor,
    page::{Shell, number, page, time},
};
use crate::{
    db::{alarms, consumption, fleet},
    domain::{
        fleet::{AlarmRecord, ONLINE_WITHIN_SECONDS},
        page::Page,
        usage::Step,
    },
    state::App,
};
use askama::Template;
use attach_proto::usage::MeasuredQuantity;
use axum::{extract::State, response::Response};
use jiff::Timestamp;

/// What fits the overview; the API has them all.
const ALARMS: u16 = 10;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    shell: Shell,
    online: String,
    agents: String,
    requests: String,
    input: String,
    output: String,
    alarms: Vec<Alarm>,
}

struct Alarm {
    at: String,
    kind: String,
    agent: String,
    detail: String,
}

impl From<AlarmRecord> for Alarm {
    fn from(alarm: AlarmRecord) -> Self {
        Self {
            at: time(alarm.at),
            kind: alarm.kind,
            agent: alarm.agent.unwrap_or_default(),
            detail: alarm.detail,
        }
    }
}

pub(super) async fn show(Visitor(session): Visitor, State(app): State<App>) -> Result<Response, Failure> {
    let now = app.clock.now();
    let at = |second| Timestamp::from_second(second).unwrap_or(now);
    let midnight = at(now.as_second() - now.as_second().rem_euclid(Step::Day.seconds()));
    let heard_since = at(now.as_second() - ONLINE_WITHIN_SECONDS);
    let mut tx = app.db.operator().await?;
    let agents = fleet::agent_count(tx.connection()).await?;
    let online = fleet::online_count(tx.connection(), heard_since).await?;
    let today = consumption::total_since(tx.connection(), midnight).await?;
    let alarms = alarms::list(tx.connection(), &Page { after: None, limit: ALARMS }).await?;
    Ok(page(&Home {
        shell: Shell::new(&session, "Overview", "Overview"),
        online: number(online),
        agents: number(agents),
        requests: number(today.requests),
        input: number(today.quantity(MeasuredQuantity::INPUT_TOKENS)),
        output: number(today.quantity(MeasuredQuantity::OUTPUT_TOKENS)),
        alarms: alarms.items.into_iter().map(Alarm::from).collect(),
    }))
}
