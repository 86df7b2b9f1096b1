//! The end of a limit.

use super::super::{
    error::Failure,
    form::{Posted, Question, Visitor},
    page::see,
    tenants,
};
use crate::{db::limits, ops::remove_limit, state::App};
use attach_proto::id::{LimitId, TenantId};
use axum::{
    extract::{Path, State},
    response::Response,
};

pub(in crate::console) async fn ask_remove(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (mut tx, view) = tenants::open(&app, &tenant).await?;
    let id: LimitId = id.parse().map_err(|_| Failure::NotFound("limit"))?;
    let (connection, tenant) = tx.parts();
    limits::find(connection, tenant, &id).await?.ok_or(Failure::NotFound("limit"))?;
    let question = Question {
        title: format!("Remove the limit {id}?"),
        text: "Within a second it holds nobody any more.".to_owned(),
        action: format!("{}/limits/{id}/remove", view.path()),
        button: "Remove the limit",
        back: format!("{}/limits", view.path()),
    };
    Ok(question.page(&session, "Tenants"))
}

pub(in crate::console) async fn remove(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let tenant: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let id = id.parse().map_err(|_| Failure::NotFound("limit"))?;
    remove_limit(&app.db, &session.actor(), &tenant, &id).await?;
    Ok(see(&format!("/tenants/{tenant}/limits")))
}
