//! Quota stores.

use super::{
    extract::{Body, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
};
use crate::{
    db::quota_stores,
    domain::tenant::{QuotaStoreRecord, StoreKind},
    ops::create_quota_store,
    state::App,
};
use attach_proto::{bundle, v1};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The memory of a tenant's only gateway.
    Local,
    Redis,
}

/// Without its address, which may hold a password.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaStore {
    id: String,
    kind: Kind,
    /// How long a request waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_budget_ms: Option<u64>,
}

impl From<QuotaStoreRecord> for QuotaStore {
    fn from(QuotaStoreRecord { id, kind, call_budget }: QuotaStoreRecord) -> Self {
        Self {
            id: id.into(),
            kind: match kind {
                StoreKind::Local => Kind::Local,
                StoreKind::Redis => Kind::Redis,
            },
            call_budget_ms: call_budget.and_then(|budget| u64::try_from(budget.as_millis()).ok()),
        }
    }
}

#[utoipa::path(get, path = "/quota-stores", operation_id = "list_quota_stores", tag = "Quota stores", params(Paging),
    responses((status = 200, body = List<QuotaStore>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<QuotaStore>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let part = quota_stores::list(tx.connection(), &page).await?;
    Ok(Json(List::new(part, |store| store.id.to_string(), QuotaStore::from)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewQuotaStore {
    /// Letters, digits and . _ - : @; it never changes.
    id: String,
    kind: Kind,
    /// Of a Redis: `redis://` or `rediss://`, with its password. Kept sealed, and never shown.
    url: Option<String>,
    /// How long a request waits for it: 1 to 60000, 20 without a word.
    call_budget_ms: Option<u32>,
}

#[utoipa::path(post, path = "/quota-stores", operation_id = "create_quota_store", tag = "Quota stores",
    request_body = NewQuotaStore, responses((status = 201, body = QuotaStore)))]
pub(super) async fn create(
    Operator(actor): Operator,
    State(app): State<App>,
    Body(new): Body<NewQuotaStore>,
) -> Result<(StatusCode, Json<QuotaStore>), Problem> {
    let NewQuotaStore { id, kind, url, call_budget_ms } = new;
    let store = match (kind, url) {
        (Kind::Local, None) if call_budget_ms.is_none() => v1::quota_store::Store::Local(v1::LocalStore {}),
        (Kind::Local, Some(_)) => {
            return Err(Problem::field("/url", "belongs to a Redis; this one is local"));
        }
        (Kind::Local, None) => {
            return Err(Problem::field("/call_budget_ms", "belongs to a Redis; this one is local"));
        }
        (Kind::Redis, None) => return Err(Problem::field("/url", "is missing")),
        (Kind::Redis, Some(url)) => v1::quota_store::Store::Redis(v1::RedisStore {
            url,
            call_budget: call_budget_ms.map(|budget| Duration::from_millis(budget.into()).into()),
        }),
    };
    let wire = v1::QuotaStore { id, store: Some(store) };
    let store = bundle::QuotaStore::try_from(wire).map_err(|invalid| match invalid.path.as_str() {
        // The contract's words repeat the address, which has a password.
        "redis.url" => Problem::field("/url", "must be like redis://user:password@host:6379"),
        "redis.call_budget" => Problem::field("/call_budget_ms", "must be between 1 and 60000"),
        _ => Problem::of_invalid(&invalid, &[]),
    })?;
    create_quota_store(&app.db, &app.sealer, &actor, &store).await?;
    let (kind, call_budget) = match store.kind {
        bundle::QuotaStoreKind::Local => (StoreKind::Local, None),
        bundle::QuotaStoreKind::Redis { call_budget, .. } => (StoreKind::Redis, Some(call_budget)),
    };
    let record = QuotaStoreRecord { id: store.id, kind, call_budget };
    Ok((StatusCode::CREATED, Json(record.into())))
}
