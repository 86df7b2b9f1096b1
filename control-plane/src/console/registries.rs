//! Where a pool's models may be pulled from.

use super::{
    error::Failure,
    form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
    page::see,
    pool,
};
use crate::{auth::Session, db::routes, domain::tenant::PoolRecord, ops::change_routes, state::App};
use axum::{
    extract::{Path, State},
    response::Response,
};

fn form(session: &Session, pool: &PoolRecord, sent: &Sent, wrong: Option<Wrong>) -> Response {
    let hint = "A host on each line, such as hf.co, with its port where it has one.";
    let fields = vec![Field::of(Kind::Lines, "registries", "Registries", hint, sent)];
    let back = format!("/pools/{}", pool.id);
    let action = format!("{back}/registries");
    let title = "Where models may come from";
    let mut form = FormPage::new(session, "Pools", title, &action, &back, fields);
    form.parent = Some((pool.name.clone(), back));
    form.text = "Who may change models pulls them from registry.ollama.ai, and from these.";
    form.button = "Save the registries";
    form.answer(wrong)
}

pub(super) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(pool): Path<String>,
) -> Result<Response, Failure> {
    let pool = pool::find(&app, &pool).await?;
    let mut tx = app.db.operator().await?;
    let registries = routes::find(tx.connection(), &pool.id).await?.registries.join("\n");
    Ok(form(&session, &pool, &Sent::from_iter([("registries", registries)]), None))
}

pub(super) async fn update(
    State(app): State<App>,
    Path(pool): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let pool = pool::find(&app, &pool).await?;
    let registries = sent.lines("registries");
    let actor = session.actor();
    let saved = change_routes(&app.db, &actor, &pool.id, |routes| {
        routes.registries = registries;
        Ok(())
    });
    match saved.await {
        Ok(()) => Ok(see(&format!("/pools/{}", pool.id))),
        Err(error) => Ok(form(&session, &pool, &sent, Some(Wrong::of(error)?))),
    }
}
