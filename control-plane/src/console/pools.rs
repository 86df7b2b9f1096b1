//! Pools and quota stores: what there must be before the first tenant.

use super::{
    error::Failure,
    form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
    page::{Shell, page, see, time},
};
use crate::{
    auth::Session,
    db::{pools, quota_stores},
    domain::{
        page::Page,
        tenant::{PoolRecord, QuotaStoreRecord, StoreKind},
    },
    ops::{create_pool, create_quota_store},
    state::App,
};
use askama::Template;
use attach_proto::{bundle::QuotaStore, v1};
use axum::{extract::State, response::Response};

#[derive(Template)]
#[template(path = "pools.html")]
struct Pools {
    shell: Shell,
    pools: Vec<Pool>,
    stores: Vec<Store>,
}

struct Pool {
    id: String,
    name: String,
    revision: i64,
    since: String,
}

impl From<PoolRecord> for Pool {
    fn from(pool: PoolRecord) -> Self {
        Self { id: pool.id.into(), name: pool.name, revision: pool.revision, since: time(pool.created_at) }
    }
}

struct Store {
    id: String,
    kind: &'static str,
    budget: String,
}

impl From<QuotaStoreRecord> for Store {
    fn from(store: QuotaStoreRecord) -> Self {
        Self {
            id: store.id.into(),
            kind: match store.kind {
                StoreKind::Local => "memory of the only gateway",
                StoreKind::Redis => "Redis",
            },
            budget: store.call_budget.map(|of| format!("{} ms", of.as_millis())).unwrap_or_default(),
        }
    }
}

pub(super) async fn list(Visitor(session): Visitor, State(app): State<App>) -> Result<Response, Failure> {
    let mut tx = app.db.operator().await?;
    let pools = pools::list(tx.connection(), &Page::first()).await?;
    let stores = quota_stores::list(tx.connection(), &Page::first()).await?;
    Ok(page(&Pools {
        shell: Shell::new(&session, "Pools", "Pools and quota stores"),
        pools: pools.items.into_iter().map(Pool::from).collect(),
        stores: stores.items.into_iter().map(Store::from).collect(),
    }))
}

pub(super) async fn new(Visitor(session): Visitor) -> Response {
    new_form(&session, &Sent::default(), None)
}

fn new_form(session: &Session, sent: &Sent, wrong: Option<Wrong>) -> Response {
    let fields = vec![Field::id(sent), Field::text("name", "Name", "As people know it.", sent.text("name"))];
    let mut form = FormPage::new(session, "Pools", "New pool", "/pools", "/pools", fields);
    form.parent = Some(("Pools and quota stores".to_owned(), "/pools".to_owned()));
    form.button = "Make the pool";
    form.answer(wrong)
}

pub(super) async fn create(
    State(app): State<App>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let wrong = match sent.text("id").parse() {
        Ok(id) => match create_pool(&app.db, &session.actor(), &id, &sent.text("name")).await {
            Ok(()) => return Ok(see("/pools")),
            Err(error) => Wrong::of(error)?,
        },
        Err(error) => Wrong::new("id", error.to_string()),
    };
    Ok(new_form(&session, &sent, Some(wrong)))
}

pub(super) async fn new_store(Visitor(session): Visitor) -> Response {
    store_form(&session, &Sent::default(), None)
}

fn store_form(session: &Session, sent: &Sent, wrong: Option<Wrong>) -> Response {
    let kinds = Kind::choice(&[("redis", "Redis"), ("local", "Memory of the tenant's only gateway")]);
    let fields = vec![
        Field::id(sent),
        Field::of(kinds, "kind", "Kind", "", sent),
        Field::new(
            Kind::Secret,
            "url",
            "Address of the Redis",
            "Such as redis://user:password@host:6379. It is kept sealed, and not shown again.",
            "",
        ),
    ];
    let mut form = FormPage::new(session, "Pools", "New quota store", "/quota-stores", "/pools", fields);
    form.parent = Some(("Pools and quota stores".to_owned(), "/pools".to_owned()));
    form.button = "Make the quota store";
    form.answer(wrong)
}

pub(super) async fn create_store(
    State(app): State<App>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let wrong = match asked_store(&sent) {
        Ok(store) => match create_quota_store(&app.db, &app.sealer, &session.actor(), &store).await {
            Ok(()) => return Ok(see("/pools")),
            Err(error) => Wrong::of(error)?,
        },
        Err(wrong) => wrong,
    };
    Ok(store_form(&session, &sent, Some(wrong)))
}

fn asked_store(sent: &Sent) -> Result<QuotaStore, Wrong> {
    let url = sent.text("url");
    let store = match sent.text("kind").as_str() {
        "redis" => v1::quota_store::Store::Redis(v1::RedisStore { url, call_budget: None }),
        "local" if url.is_empty() => v1::quota_store::Store::Local(v1::LocalStore {}),
        "local" => return Err(Wrong::new("url", "belongs to a Redis")),
        _ => return Err(Wrong::not_one_of_these("kind")),
    };
    let wire = v1::QuotaStore { id: sent.text("id"), store: Some(store) };
    QuotaStore::try_from(wire).map_err(|invalid| match invalid.path.as_str() {
        // The contract's words repeat the address, which has a password.
        "redis.url" => Wrong::new("url", "must be like redis://user:password@host:6379"),
        _ => Wrong::from(invalid),
    })
}
