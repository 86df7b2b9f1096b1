//! What was done, and what should not have happened.

use super::{
    extract::{Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
    tenants,
};
use crate::{
    db::{alarms, audit},
    domain::{fleet::AlarmRecord, tenant::AuditRecord},
    state::App,
};
use attach_proto::id::TenantId;
use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    n: i64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Missing for what concerns no tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    actor_kind: String,
    actor: String,
    action: String,
    target: String,
    /// What changed, without secrets.
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<AuditRecord> for AuditEntry {
    fn from(entry: AuditRecord) -> Self {
        let AuditRecord { n, at, tenant, actor_kind, actor, action, target, detail } = entry;
        Self { n, at, tenant, actor_kind, actor, action, target, detail }
    }
}

/// The whole trail, the last entry first.
#[utoipa::path(get, path = "/audit", operation_id = "list_audit_entries", tag = "Audit", params(Paging),
    responses((status = 200, body = List<AuditEntry>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<AuditEntry>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let part = audit::list(tx.connection(), None, &page).await?;
    Ok(Json(List::new(part, |entry| entry.n, AuditEntry::from)))
}

/// What concerns one tenant, the last entry first.
#[utoipa::path(get, path = "/tenants/{tenant}/audit", operation_id = "list_audit_entries_of_tenant", tag = "Audit",
    params(("tenant" = String, Path), Paging), responses((status = 200, body = List<AuditEntry>)))]
pub(super) async fn of_tenant(
    _: Operator,
    State(app): State<App>,
    Named(tenant): Named<TenantId>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<AuditEntry>>, Problem> {
    let page = paging.page()?;
    let (mut tx, _) = tenants::open(&app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let part = audit::list(connection, Some(tenant), &page).await?;
    Ok(Json(List::new(part, |entry| entry.n, AuditEntry::from)))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alarm {
    id: i64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    detail: String,
}

impl From<AlarmRecord> for Alarm {
    fn from(AlarmRecord { id, at, kind, agent, detail }: AlarmRecord) -> Self {
        Self { id, at, kind, agent, detail }
    }
}

/// What should not happen, and did; the last first.
#[utoipa::path(get, path = "/alarms", operation_id = "list_alarms", tag = "Audit", params(Paging),
    responses((status = 200, body = List<Alarm>)))]
pub(super) async fn alarms(
    _: Operator,
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<Alarm>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let part = alarms::list(tx.connection(), &page).await?;
    Ok(Json(List::new(part, |alarm| alarm.id, Alarm::from)))
}
