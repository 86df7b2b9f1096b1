//! The audit trail.

use super::{
    error::Failure,
    form::Visitor,
    page::{Shell, next_path, page, time},
    paging::After,
};
use crate::{db::audit, domain::tenant::AuditRecord, state::App};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    shell: Shell,
    entries: Vec<Entry>,
    next: Option<String>,
}

struct Entry {
    n: i64,
    at: String,
    actor: String,
    action: String,
    tenant: String,
    target: String,
    detail: String,
}

impl From<AuditRecord> for Entry {
    fn from(entry: AuditRecord) -> Self {
        let detail = entry.detail.to_string();
        Self {
            n: entry.n,
            at: time(entry.at),
            actor: format!("{} {}", entry.actor_kind, entry.actor),
            action: entry.action.replace('_', " "),
            tenant: entry.tenant.unwrap_or_default(),
            target: entry.target,
            detail: if detail == "{}" { String::new() } else { detail },
        }
    }
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let mut tx = app.db.operator().await?;
    let part = audit::list(tx.connection(), None, &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|entry| entry.n.to_string());
    Ok(page(&Audit {
        shell: Shell::new(&session, "Audit", "Audit trail"),
        next: next_path("/audit", last.as_deref()),
        entries: part.items.into_iter().map(Entry::from).collect(),
    }))
}
