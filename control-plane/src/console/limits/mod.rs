//! A tenant's limits: the list, a new one, one that changes, the end of one.

mod remove;
mod set;

pub(super) use remove::{ask_remove, remove};
pub(super) use set::{create, edit, new, update};

use super::{
    error::Failure,
    form::Visitor,
    page::{Shell, duration, next_path, number, page},
    paging::After,
    tenants::{self, TenantView},
};
use crate::{db::limits, state::App};
use askama::Template;
use attach_proto::bundle::{Counter, Limit, Measure};
use axum::{
    extract::{Path, Query, State},
    response::Response,
};

#[derive(Template)]
#[template(path = "limits.html")]
struct Limits {
    shell: Shell,
    tenant: TenantView,
    tab: &'static str,
    limits: Vec<LimitView>,
    next: Option<String>,
}

struct LimitView {
    id: String,
    amount: String,
    measure: &'static str,
    window: String,
    counter: &'static str,
    scope: String,
    path: String,
}

impl LimitView {
    fn new(limit: Limit, tenant: &TenantView) -> Self {
        let models: Vec<_> = limit.scope.models.iter().map(ToString::to_string).collect();
        let keys: Vec<_> = limit.scope.keys.iter().map(ToString::to_string).collect();
        let narrowed = [
            ("users", limit.scope.principals.join(", ")),
            ("groups", limit.scope.groups.join(", ")),
            ("models", models.join(", ")),
            ("keys", keys.join(", ")),
        ];
        let narrowed = narrowed.iter().filter(|(_, list)| !list.is_empty());
        let narrowed: Vec<_> = narrowed.map(|(what, list)| format!("{what} {list}")).collect();
        Self {
            path: format!("{}/limits/{}", tenant.path(), limit.id),
            id: limit.id.into(),
            amount: number(i64::try_from(limit.amount).unwrap_or(i64::MAX)),
            measure: measure_text(limit.measure),
            window: duration(limit.window.as_secs()),
            counter: counter_text(limit.counter),
            scope: if narrowed.is_empty() { "everybody".to_owned() } else { narrowed.join("; ") },
        }
    }
}

pub(super) fn measure_text(word: Measure) -> &'static str {
    match word {
        Measure::Requests => "requests",
        Measure::InputTokens => "input tokens",
        Measure::OutputTokens => "output tokens",
        Measure::TotalTokens => "tokens",
    }
}

pub(super) fn counter_text(word: Counter) -> &'static str {
    match word {
        Counter::Shared => "for all together",
        Counter::EachPrincipal => "for each user",
        Counter::EachModel => "for each model",
        Counter::EachPrincipalAndModel => "for each user and model",
    }
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = limits::list(connection, tenant, &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|limit| limit.id.to_string());
    Ok(page(&Limits {
        shell: Shell::new(&session, "Tenants", format!("Limits of {}", view.name)),
        tab: "Limits",
        next: next_path(&format!("{}/limits", view.path()), last.as_deref()),
        limits: part.items.into_iter().map(|limit| LimitView::new(limit, &view)).collect(),
        tenant: view,
    }))
}
