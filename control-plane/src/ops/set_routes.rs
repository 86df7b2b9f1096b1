//! What a pool lets through beside its gateways' own table: all of it anew, or a part.

use super::OpError;
use crate::{
    db::{Database, OperatorTx, audit, heads, pools, routes},
    domain::{actor::Actor, word::Word as _},
};
use attach_proto::{
    bundle::{AllowedRoute, Routes},
    id::PoolId,
    v1,
};
use serde_json::json;

pub async fn set_routes(db: &Database, actor: &Actor, pool: &PoolId, opened: &Routes) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = begin(&mut tx, pool).await?;
    put(tx, actor, pool, opened, version).await
}

/// Changes what is opened already. Nobody else changes it meanwhile, so what two open at once is both open then.
pub async fn change_routes(
    db: &Database,
    actor: &Actor,
    pool: &PoolId,
    change: impl FnOnce(&mut v1::Routes) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = begin(&mut tx, pool).await?;
    let mut routes = v1::Routes::from(&routes::find(tx.connection(), pool).await?);
    change(&mut routes)?;
    put(tx, actor, pool, &Routes::try_from(routes)?, version).await
}

/// The head of the configuration is locked from here on.
async fn begin(tx: &mut OperatorTx, pool: &PoolId) -> Result<i64, OpError> {
    let version = heads::next_config(tx.connection()).await?;
    if !pools::touch(tx.connection(), pool, version).await? {
        return Err(OpError::NotFound("pool"));
    }
    Ok(version)
}

async fn put(
    mut tx: OperatorTx,
    actor: &Actor,
    pool: &PoolId,
    opened: &Routes,
    version: i64,
) -> Result<(), OpError> {
    routes::put(tx.connection(), pool, opened, version).await?;
    let allow = opened.allow.iter().map(|route| {
        let AllowedRoute { path, methods, permission, metering, dialect, upstream } = route;
        json!({
            "path": path.as_str(),
            "methods": methods.iter().map(|method| method.name()).collect::<Vec<_>>(),
            "permission": permission.name(),
            "metering": metering.name(),
            "dialect": dialect.name(),
            "upstream": upstream.as_ref().map(|id| id.as_str()),
        })
    });
    let entry = audit::Entry {
        actor,
        tenant: None,
        action: "set_routes",
        target: pool.as_str(),
        detail: json!({ "allow": allow.collect::<Vec<_>>(), "registries": opened.registries }),
    };
    audit::append(tx.connection(), entry).await?;
    Ok(tx.commit().await?)
}
