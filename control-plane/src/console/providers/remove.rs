//! The end of an identity provider.

use super::{
    super::{
        error::Failure,
        form::{Posted, Question, Visitor},
        page::see,
    },
    find,
};
use crate::{ops::remove_identity_provider, state::App};
use attach_proto::id::TenantId;
use axum::{
    extract::{Path, State},
    response::Response,
};

pub(in crate::console) async fn ask_remove(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (view, found) = find(&app, &tenant, &id).await?;
    let found = found.ok_or(Failure::NotFound("identity provider"))?;
    let question = Question {
        title: format!("Remove the identity provider {id}?"),
        text: format!("Tokens of {} are refused within a second.", found.issuer),
        action: format!("{}/providers/{id}/remove", view.path()),
        button: "Remove the identity provider",
        back: view.path(),
    };
    Ok(question.page(&session, "Tenants"))
}

pub(in crate::console) async fn remove(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let tenant: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let id = id.parse().map_err(|_| Failure::NotFound("identity provider"))?;
    remove_identity_provider(&app.db, &session.actor(), &tenant, &id).await?;
    Ok(see(&format!("/tenants/{tenant}")))
}
