//! A model under a name of a pool's own, new or changed.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, models, pools},
    domain::{actor::Actor, page::Page},
};
use attach_proto::{
    bundle::Model,
    id::{ModelName, PoolId},
};
use serde_json::json;
use sqlx::PgConnection;

/// A bundle with more would be slow to look up, and no person chose them.
const MAX_MODELS: usize = 200;

pub async fn set_model(db: &Database, actor: &Actor, pool: &PoolId, model: &Model) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    if !pools::touch(tx.connection(), pool, version).await? {
        return Err(OpError::NotFound("pool"));
    }
    check_names(tx.connection(), pool, model).await?;
    models::put(tx.connection(), pool, model, version).await.map_err(|error| match error {
        DbError::Conflict { .. } => OpError::Invalid { field: "max_output_tokens", problem: "is too large" },
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    })?;
    let targets: Vec<_> = model
        .targets
        .iter()
        .map(|target| json!({ "upstream": target.upstream.as_str(), "engine_model": target.engine_model.as_str() }))
        .collect();
    let aliases: Vec<_> = model.aliases.iter().map(|of| of.as_str()).collect();
    let only_tenants: Vec<_> = model.tenants.iter().map(|of| of.as_str()).collect();
    let entry = audit::Entry {
        actor,
        tenant: None,
        action: "set_model",
        target: model.name.as_str(),
        detail: json!({
            "pool": pool.as_str(),
            "targets": targets,
            "aliases": aliases,
            "only_tenants": only_tenants,
            "max_output_tokens": model.max_output_tokens,
        }),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}

/// A name must mean one model: agents refuse a bundle in which two mean the same.
async fn check_names(connection: &mut PgConnection, pool: &PoolId, model: &Model) -> Result<(), OpError> {
    let names = |model: &Model| -> Vec<String> {
        std::iter::once(&model.name).chain(&model.aliases).map(ModelName::canonical).collect()
    };
    let mut own = names(model);
    let count = own.len();
    own.sort();
    own.dedup();
    if own.len() < count {
        return Err(OpError::Invalid { field: "aliases", problem: "names the model twice" });
    }
    let others = models::list(connection, pool, &Page::first()).await?.items;
    let others: Vec<_> = others.into_iter().filter(|other| other.name != model.name).collect();
    if others.len() >= MAX_MODELS {
        return Err(OpError::Invalid { field: "name", problem: "would be the 201st model of the pool" });
    }
    if others.iter().flat_map(names).any(|name| own.contains(&name)) {
        let problem = "means the same model as a name that the pool has already";
        return Err(OpError::Invalid { field: "name", problem });
    }
    Ok(())
}
