//! Tenants: the list, a new one, one of them.

mod edit;
mod new;
mod show;

pub(super) use edit::{edit, update};
pub(super) use new::{create, new};
pub(super) use show::show;

use super::{
    error::Failure,
    form::Visitor,
    page::{Shell, next_path, page, time},
    paging::After,
};
use crate::{
    db::{TenantTx, tenants},
    domain::tenant::TenantRecord,
    state::App,
};
use askama::Template;
use attach_proto::{
    bundle::{Durability, QuotaOutage},
    did::DidPolicy,
    id::TenantId,
};
use axum::{
    extract::{Query, State},
    response::Response,
};

/// A tenant, as its pages and the list show it.
pub(super) struct TenantView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) quota_store: String,
    pub(super) outage: &'static str,
    pub(super) durability: &'static str,
    pub(super) since: String,
    /// Who calls by a DID: nobody does where there is none.
    pub(super) did: Option<DidPolicy>,
}

impl TenantView {
    pub(super) fn path(&self) -> String {
        format!("/tenants/{}", self.id)
    }

    pub(super) fn tabs(&self) -> [(&'static str, String); 5] {
        let path = self.path();
        [
            ("Tenant", path.clone()),
            ("API keys", format!("{path}/keys")),
            ("Limits", format!("{path}/limits")),
            ("Usage", format!("{path}/usage")),
            ("Explain", format!("{path}/explain")),
        ]
    }
}

impl From<TenantRecord> for TenantView {
    fn from(TenantRecord { tenant, created_at }: TenantRecord) -> Self {
        Self {
            id: tenant.id.into(),
            name: tenant.name,
            quota_store: tenant.quota_store.into(),
            outage: outage_text(tenant.on_quota_outage),
            durability: durability_text(tenant.durability),
            since: time(created_at),
            did: tenant.did,
        }
    }
}

fn outage_text(word: QuotaOutage) -> &'static str {
    match word {
        QuotaOutage::Deny => "Requests are refused",
        QuotaOutage::Allow => "Requests are served and recorded",
    }
}

fn durability_text(word: Durability) -> &'static str {
    match word {
        Durability::Strict => "Answers end in an error",
        Durability::Relaxed => "Answers end as usual, and the gap is counted",
    }
}

/// A transaction of a tenant that is there.
pub(super) async fn open(app: &App, tenant: &str) -> Result<(TenantTx, TenantView), Failure> {
    let tenant: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let mut tx = app.db.tenant(tenant).await?;
    let (connection, tenant) = tx.parts();
    let found = tenants::find(connection, tenant).await?.ok_or(Failure::NotFound("tenant"))?;
    Ok((tx, found.into()))
}

#[derive(Template)]
#[template(path = "tenants.html")]
struct Tenants {
    shell: Shell,
    tenants: Vec<TenantView>,
    next: Option<String>,
}

pub(super) async fn list(
    Visitor(session): Visitor,
    State(app): State<App>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let mut tx = app.db.operator().await?;
    let part = tenants::list(tx.connection(), &after.page()).await?;
    let last = part.items.last().filter(|_| part.has_more).map(|record| record.tenant.id.to_string());
    Ok(page(&Tenants {
        shell: Shell::new(&session, "Tenants", "Tenants"),
        next: next_path("/tenants", last.as_deref()),
        tenants: part.items.into_iter().map(TenantView::from).collect(),
    }))
}
