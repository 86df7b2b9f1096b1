//! What a pool lets through: opening a route, changing it, closing it.

use super::{
    error::Failure,
    form::{Field, FormPage, Kind, Posted, Question, Sent, Visitor, Wrong},
    page::see,
    pool,
};
use crate::{
    auth::Session,
    db,
    domain::{tenant::PoolRecord, word::Word},
    ops::{OpError, change_routes},
    state::App,
};
use attach_proto::{
    Invalid,
    bundle::{AllowedRoute, Permission},
    id::PoolId,
    route::{Dialect, Metering, RouteMethod},
    v1,
};
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;

pub(super) fn permission_text(word: Permission) -> &'static str {
    match word {
        Permission::Inference => "who may ask models",
        Permission::Read => "who may see lists of models",
        Permission::Admin => "who may change models",
    }
}

pub(super) fn metering_text(word: Metering) -> &'static str {
    match word {
        Metering::None => "nothing, and no limit holds",
        Metering::Requests => "that there was a request",
        Metering::Usage => "its tokens, which the answer states",
    }
}

pub(super) fn dialect_text(word: Dialect) -> &'static str {
    match word {
        Dialect::Ollama => "Ollama's",
        Dialect::OpenAi => "OpenAI's",
        Dialect::Anthropic => "Anthropic's",
    }
}

/// Of two routes with the same method and path only one can be open, so this names it.
pub(super) fn route_name(route: &AllowedRoute) -> String {
    let methods: Vec<_> = route.methods.iter().map(|method| method.name()).collect();
    format!("{} {}", methods.join(","), route.path)
}

fn wire_name(route: &v1::AllowedRoute) -> String {
    format!("{} {}", route.methods.join(","), route.path)
}

/// Where something is done with a route.
pub(super) fn route_path(pool: &PoolId, verb: &str, name: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/pools/{pool}/routes/{verb}?route={name}")
}

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    route: String,
}

fn shown(route: &AllowedRoute) -> Sent {
    let fields = [
        ("path", route.path.as_str()),
        ("permission", route.permission.name()),
        ("metering", route.metering.name()),
        ("dialect", Word::name(route.dialect)),
        ("upstream", route.upstream.as_ref().map(|id| id.as_str()).unwrap_or_default()),
    ];
    fields.into_iter().chain(route.methods.iter().map(|method| ("methods", method.name()))).collect()
}

fn form(
    session: &Session,
    pool: &PoolRecord,
    existing: Option<&str>,
    sent: &Sent,
    wrong: Option<Wrong>,
) -> Response {
    let methods = RouteMethod::ALL.map(|method| (method.name(), method.name())).to_vec();
    let fields = vec![
        Field::of(
            Kind::Text,
            "path",
            "Path",
            "Such as /v1/images/generations, or with /* at its end whatever is below it.",
            sent,
        ),
        Field::of(Kind::Boxes(methods), "methods", "Methods", "HEAD goes with GET.", sent),
        Field::of(Kind::one_of(permission_text), "permission", "Open to", "", sent),
        Field::of(
            Kind::one_of(metering_text),
            "metering",
            "What is recorded",
            "Tokens of POST alone: the model stands in its body.",
            sent,
        ),
        Field::of(Kind::one_of(dialect_text), "dialect", "The shape of refusals", "", sent),
        Field::of(
            Kind::Text,
            "upstream",
            "Engine",
            "By the name that hosts declare it under; without one the model's, or the only one.",
            sent,
        ),
    ];
    let back = format!("/pools/{}", pool.id);
    let (title, action) = match existing {
        Some(name) => (format!("Change {name}"), route_path(&pool.id, "change", name)),
        None => ("Open a route".to_owned(), format!("{back}/routes")),
    };
    let mut form = FormPage::new(session, "Pools", title, &action, &back, fields);
    form.parent = Some((pool.name.clone(), back));
    form.text = "Requests go to the engine as they are. Engines' control routes can't be opened, nor what gateways know \
                 already.";
    form.button = "Save the route";
    form.answer(wrong)
}

pub(super) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(pool): Path<String>,
) -> Result<Response, Failure> {
    let pool = pool::find(&app, &pool).await?;
    let usual = Sent::from_iter([
        ("methods", RouteMethod::Post.name()),
        ("permission", Permission::Inference.name()),
        ("metering", Metering::Requests.name()),
        ("dialect", Dialect::OpenAi.name()),
    ]);
    Ok(form(&session, &pool, None, &usual, None))
}

pub(super) async fn open(
    State(app): State<App>,
    Path(pool): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let pool = pool::find(&app, &pool).await?;
    save(&app, &session, &pool, None, &sent).await
}

/// A route that is open.
async fn find(app: &App, pool: &str, which: &Which) -> Result<(PoolRecord, AllowedRoute), Failure> {
    let pool = pool::find(app, pool).await?;
    let mut tx = app.db.operator().await?;
    let opened = db::routes::find(tx.connection(), &pool.id).await?;
    let found = opened.allow.into_iter().find(|route| route_name(route) == which.route);
    Ok((pool, found.ok_or(Failure::NotFound("open route"))?))
}

pub(super) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(pool): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Failure> {
    let (pool, route) = find(&app, &pool, &which).await?;
    Ok(form(&session, &pool, Some(&which.route), &shown(&route), None))
}

pub(super) async fn update(
    State(app): State<App>,
    Path(pool): Path<String>,
    Query(which): Query<Which>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (pool, _) = find(&app, &pool, &which).await?;
    save(&app, &session, &pool, Some(&which.route), &sent).await
}

async fn save(
    app: &App,
    session: &Session,
    pool: &PoolRecord,
    existing: Option<&str>,
    sent: &Sent,
) -> Result<Response, Failure> {
    let wrong = match asked(sent) {
        Ok(route) => {
            let actor = session.actor();
            let saved = change_routes(&app.db, &actor, &pool.id, |routes| {
                let Some(existing) = existing else {
                    routes.allow.push(route);
                    return Ok(());
                };
                let place = routes.allow.iter_mut().find(|route| wire_name(route) == existing);
                *place.ok_or(OpError::NotFound("open route"))? = route;
                Ok(())
            });
            match saved.await {
                Ok(()) => return Ok(see(&format!("/pools/{}", pool.id))),
                Err(error) => beside(error)?,
            }
        }
        Err(wrong) => wrong,
    };
    Ok(form(session, pool, existing, sent, Some(wrong)))
}

fn asked(sent: &Sent) -> Result<v1::AllowedRoute, Wrong> {
    Ok(v1::AllowedRoute {
        path: sent.text("path"),
        methods: sent.chosen("methods").into_iter().map(str::to_owned).collect(),
        permission: match sent.word("permission")? {
            Permission::Inference => v1::Permission::Inference,
            Permission::Read => v1::Permission::Read,
            Permission::Admin => v1::Permission::Admin,
        }
        .into(),
        metering: match sent.word("metering")? {
            Metering::None => v1::Metering::None,
            Metering::Requests => v1::Metering::Requests,
            Metering::Usage => v1::Metering::Usage,
        }
        .into(),
        dialect: match sent.word("dialect")? {
            Dialect::Ollama => v1::Dialect::Ollama,
            Dialect::OpenAi => v1::Dialect::Openai,
            Dialect::Anthropic => v1::Dialect::Anthropic,
        }
        .into(),
        upstream: sent.text("upstream"),
    })
}

/// The form has one route of the list: what is wrong with `allow[2].path` is wrong with its path.
fn beside(error: OpError) -> Result<Wrong, Failure> {
    let OpError::Contract(Invalid { path, problem }) = error else { return Wrong::of(error) };
    let path = path.split_once("].").map_or(path.as_str(), |(_, below)| below).to_owned();
    Ok(Invalid { path, problem }.into())
}

pub(super) async fn ask_close(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(pool): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Failure> {
    let (pool, _) = find(&app, &pool, &which).await?;
    let question = Question {
        title: format!("Close {}?", which.route),
        text: "Within a second requests for it are answered 404.".to_owned(),
        action: route_path(&pool.id, "close", &which.route),
        button: "Close the route",
        back: format!("/pools/{}", pool.id),
    };
    Ok(question.page(&session, "Pools"))
}

pub(super) async fn close(
    State(app): State<App>,
    Path(pool): Path<String>,
    Query(which): Query<Which>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let (pool, _) = find(&app, &pool, &which).await?;
    change_routes(&app.db, &session.actor(), &pool.id, |routes| {
        let before = routes.allow.len();
        routes.allow.retain(|route| wire_name(route) != which.route);
        if routes.allow.len() == before { Err(OpError::NotFound("open route")) } else { Ok(()) }
    })
    .await?;
    Ok(see(&format!("/pools/{}", pool.id)))
}
