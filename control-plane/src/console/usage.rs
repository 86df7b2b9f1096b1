//! A tenant's usage over time, by user and by model.

use super::{
    chart::Chart,
    error::Failure,
    form::Visitor,
    page::{Shell, number, page},
    tenants::{self, TenantView},
};
use crate::{
    db::consumption,
    domain::usage::{Step, UsageQuery, UsageSum},
    state::App,
};
use askama::Template;
use attach_proto::usage::MeasuredQuantity;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use jiff::Timestamp;
use serde::Deserialize;

/// Times to look at: name in the address, title, steps, and how long one is.
const SPANS: [(&str, &str, i64, Step); 3] = [
    ("day", "24 hours", 24, Step::Hour),
    ("week", "7 days", 7, Step::Day),
    ("month", "30 days", 30, Step::Day),
];

/// Rows of a table that somebody reads; the API has them all.
const ROWS: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    span: Option<String>,
}

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    shell: Shell,
    tenant: TenantView,
    tab: &'static str,
    spans: Vec<Span>,
    chart: Chart,
    is_empty: bool,
    tables: Vec<Table>,
}

struct Span {
    name: &'static str,
    path: String,
    is_current: bool,
}

struct Table {
    title: &'static str,
    caption: String,
    what: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    note: String,
    requests: String,
    input: String,
    output: String,
    total: String,
}

pub(super) async fn show(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let now = app.clock.now();
    let named = asked.span.as_deref().and_then(|name| SPANS.iter().find(|(of, ..)| *of == name));
    let (current, title, steps, step) = *named.unwrap_or(&SPANS[0]);
    // Whole steps, the last of which is not over.
    let end = (now.as_second().div_euclid(step.seconds()) + 1) * step.seconds();
    let at = |second| Timestamp::from_second(second).unwrap_or(now);
    let (from, to) = (at(end - steps * step.seconds()), at(end));
    let of = |step, by_user, by_model| UsageQuery { from, to, step, by_user, by_model };
    let (connection, tenant) = tx.parts();
    let over_time = consumption::sums(&mut *connection, tenant, &of(Some(step), false, false)).await?;
    let users = consumption::most(&mut *connection, tenant, &of(None, true, false), ROWS).await?;
    let models = consumption::most(connection, tenant, &of(None, false, true), ROWS).await?;
    // A page's steps of time are far fewer than any bound.
    let over_time = over_time.unwrap_or_default();
    let rows: Vec<Row> =
        over_time.iter().rev().map(|sum| Row::new(moment(sum, step), String::new(), sum)).collect();
    let times = Table {
        title: match step {
            Step::Hour => "By hour",
            Step::Day => "By day",
        },
        caption: format!("The last {title}, the latest first"),
        what: match step {
            Step::Hour => "Hour",
            Step::Day => "Day",
        },
        rows,
    };
    let span = |(name, title, ..): &(&'static str, &'static str, i64, Step)| Span {
        name: title,
        path: format!("{}/usage?span={name}", view.path()),
        is_current: *name == current,
    };
    Ok(page(&UsagePage {
        shell: Shell::new(&session, "Tenants", format!("Usage of {}", view.name)),
        tab: "Usage",
        spans: SPANS.iter().map(span).collect(),
        is_empty: over_time.is_empty(),
        chart: Chart::new(&over_time, from, to, step),
        tables: vec![
            table("By user", title, "User", &users),
            table("By model", title, "Model", &models),
            times,
        ],
        tenant: view,
    }))
}

fn moment(sum: &UsageSum, step: Step) -> String {
    let pattern = match step {
        Step::Hour => "%Y-%m-%d %H:00",
        Step::Day => "%Y-%m-%d",
    };
    sum.start.map(|start| start.strftime(pattern).to_string()).unwrap_or_default()
}

/// Whoever used most first.
fn table(
    title: &'static str,
    span: &str,
    what: &'static str,
    (sums, count): &(Vec<UsageSum>, usize),
) -> Table {
    let caption = if *count > ROWS {
        format!("The last {span}: the first {ROWS} of {}", number(i64::try_from(*count).unwrap_or(i64::MAX)))
    } else {
        format!("The last {span}, most tokens first")
    };
    let row = |sum: &UsageSum| match (&sum.user, &sum.model) {
        (Some(user), _) => {
            let from = if user.issuer.is_empty() { String::new() } else { format!(" of {}", user.issuer) };
            Row::new(user.subject.clone(), format!("{}{from}", user.kind), sum)
        }
        (None, Some(model)) if model.is_empty() => Row::new("none".to_owned(), String::new(), sum),
        (None, model) => Row::new(model.clone().unwrap_or_default(), String::new(), sum),
    };
    Table { title, caption, what, rows: sums.iter().map(row).collect() }
}

fn total(sum: &UsageSum) -> i64 {
    let input = sum.quantity(MeasuredQuantity::INPUT_TOKENS);
    input.saturating_add(sum.quantity(MeasuredQuantity::OUTPUT_TOKENS))
}

impl Row {
    fn new(name: String, note: String, sum: &UsageSum) -> Self {
        Self {
            name,
            note,
            requests: number(sum.requests),
            input: number(sum.quantity(MeasuredQuantity::INPUT_TOKENS)),
            output: number(sum.quantity(MeasuredQuantity::OUTPUT_TOKENS)),
            total: number(total(sum)),
        }
    }
}
