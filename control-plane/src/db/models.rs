//! The models that a pool offers under names of their own.

use super::DbError;
use crate::domain::page::{Page, Part};
use attach_proto::{
    bundle::{Model, ModelTarget},
    id::{ModelName, PoolId, TenantId},
};
use sqlx::PgConnection;
use std::str::FromStr;

/// In the order of their names.
pub(crate) async fn list(
    connection: &mut PgConnection,
    pool: &PoolId,
    page: &Page<String>,
) -> Result<Part<Model>, DbError> {
    let rows = sqlx::query!(
        r#"select name, aliases, max_output_tokens, only_tenants,
               array(select upstream from model_target target
                     where target.pool_id = model.pool_id and target.model_name = model.name
                     order by position) as "upstreams!",
               array(select engine_model from model_target target
                     where target.pool_id = model.pool_id and target.model_name = model.name
                     order by position) as "engine_models!"
           from model where pool_id = $1 and ($2::text is null or name > $2) order by name limit $3"#,
        pool.as_str(),
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let models = rows.into_iter().map(|row| {
        let corrupt = || DbError::corrupt("model", &row.name);
        let targets = row.upstreams.iter().zip(&row.engine_models).map(|(upstream, engine_model)| {
            Some(ModelTarget { upstream: upstream.parse().ok()?, engine_model: engine_model.parse().ok()? })
        });
        Ok(Model {
            name: row.name.parse().map_err(|_| corrupt())?,
            aliases: parsed(&row.aliases).ok_or_else(corrupt)?,
            targets: targets.collect::<Option<_>>().ok_or_else(corrupt)?,
            max_output_tokens: row.max_output_tokens.map(u64::try_from).transpose().map_err(|_| corrupt())?,
            tenants: parsed(&row.only_tenants).ok_or_else(corrupt)?,
        })
    });
    Ok(page.part(models.collect::<Result<_, DbError>>()?))
}

fn parsed<T: FromStr>(texts: &[String]) -> Option<Vec<T>> {
    texts.iter().map(|text| text.parse().ok()).collect()
}

/// Makes the model, or replaces the one of its name.
pub(crate) async fn put(
    connection: &mut PgConnection,
    pool: &PoolId,
    model: &Model,
    version: i64,
) -> Result<(), DbError> {
    let Model { name, aliases, targets, max_output_tokens, tenants } = model;
    let aliases: Vec<String> = aliases.iter().map(ToString::to_string).collect();
    let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "insert into model (pool_id, name, aliases, max_output_tokens, only_tenants, version)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (pool_id, name) do update set
             aliases = excluded.aliases, max_output_tokens = excluded.max_output_tokens,
             only_tenants = excluded.only_tenants, version = excluded.version",
        pool.as_str(),
        name.as_str(),
        &aliases,
        max_output_tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)),
        &tenants,
        version,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "delete from model_target where pool_id = $1 and model_name = $2",
        pool.as_str(),
        name.as_str()
    )
    .execute(&mut *connection)
    .await?;
    let upstreams: Vec<String> = targets.iter().map(|target| target.upstream.to_string()).collect();
    let engine_models: Vec<String> = targets.iter().map(|target| target.engine_model.to_string()).collect();
    sqlx::query!(
        "insert into model_target (pool_id, model_name, position, upstream, engine_model)
         select $1, $2, (position - 1)::smallint, upstream, engine_model
         from unnest($3::text[], $4::text[]) with ordinality as target (upstream, engine_model, position)",
        pool.as_str(),
        name.as_str(),
        &upstreams,
        &engine_models,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a model.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    pool: &PoolId,
    name: &ModelName,
) -> Result<bool, DbError> {
    let removed =
        sqlx::query!("delete from model where pool_id = $1 and name = $2", pool.as_str(), name.as_str())
            .execute(connection)
            .await?;
    Ok(removed.rows_affected() > 0)
}

/// What an agent is told of a model names only the tenants of its pool, so it changes when one of them comes or goes.
pub(crate) async fn touch_those_of(
    connection: &mut PgConnection,
    pool: &PoolId,
    tenant: &TenantId,
    version: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "update model set version = $3 where pool_id = $1 and $2 = any(only_tenants)",
        pool.as_str(),
        tenant.as_str(),
        version
    )
    .execute(connection)
    .await?;
    Ok(())
}
