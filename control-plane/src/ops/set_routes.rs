//! What a pool lets through beside its gateways' own table, all of it anew.

use super::OpError;
use crate::{
    db::{Database, audit, heads, pools, routes},
    domain::{actor::Actor, word::Word as _},
};
use attach_proto::{
    bundle::{AllowedRoute, Routes},
    id::PoolId,
};
use serde_json::json;

pub async fn set_routes(db: &Database, actor: &Actor, pool: &PoolId, opened: &Routes) -> Result<(), OpError> {
    let mut tx = db.operator().await?;
    let version = heads::next_config(tx.connection()).await?;
    if !pools::touch(tx.connection(), pool, version).await? {
        return Err(OpError::NotFound("pool"));
    }
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
