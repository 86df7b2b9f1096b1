//! What a pool lets through beside its gateways' own table.

use super::DbError;
use crate::domain::word::Word as _;
use attach_proto::{
    bundle::{AllowedRoute, Permission, Routes},
    id::PoolId,
    route::{Dialect, Metering, PathPattern, RouteMethod},
};
use sqlx::PgConnection;

/// Empty for a pool that never said anything.
pub(crate) async fn find(connection: &mut PgConnection, pool: &PoolId) -> Result<Routes, DbError> {
    let registries =
        sqlx::query_scalar!("select registries from pool_routes where pool_id = $1", pool.as_str())
            .fetch_optional(&mut *connection)
            .await?;
    let rows = sqlx::query!(
        "select path, methods, permission, metering, dialect, upstream from allowed_route
         where pool_id = $1 order by position",
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let allow = rows.into_iter().map(|row| {
        let methods = row.methods.iter().map(|name| RouteMethod::from_name(name));
        let route = || {
            Some(AllowedRoute {
                path: PathPattern::parse(&row.path).ok()?,
                methods: methods.collect::<Option<_>>()?,
                permission: Permission::from_name(&row.permission)?,
                metering: Metering::from_name(&row.metering)?,
                dialect: Dialect::from_name(&row.dialect)?,
                upstream: row
                    .upstream
                    .as_ref()
                    .map(|id| id.parse().ok())
                    .map_or(Some(None), |id| id.map(Some))?,
            })
        };
        route().ok_or_else(|| DbError::corrupt("allowed_route", &row.path))
    });
    Ok(Routes { allow: allow.collect::<Result<_, _>>()?, registries: registries.unwrap_or_default() })
}

/// Replaces them whole.
pub(crate) async fn put(
    connection: &mut PgConnection,
    pool: &PoolId,
    routes: &Routes,
    version: i64,
) -> Result<(), DbError> {
    let Routes { allow, registries } = routes;
    sqlx::query!("delete from pool_routes where pool_id = $1", pool.as_str())
        .execute(&mut *connection)
        .await?;
    if allow.is_empty() && registries.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into pool_routes (pool_id, registries, version) values ($1, $2, $3)",
        pool.as_str(),
        registries,
        version,
    )
    .execute(&mut *connection)
    .await?;
    for (position, route) in (0_i16..).zip(allow) {
        let methods: Vec<String> = route.methods.iter().map(|method| method.name().to_owned()).collect();
        sqlx::query!(
            "insert into allowed_route (pool_id, position, path, methods, permission, metering, dialect, upstream)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
            pool.as_str(),
            position,
            route.path.as_str(),
            &methods,
            route.permission.name(),
            route.metering.name(),
            route.dialect.name(),
            route.upstream.as_ref().map(|id| id.as_str()),
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
