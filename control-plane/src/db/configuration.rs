//! What a pool's bundle is made of: its rows as the wire has them, each with its version.

use super::{DbError, identity_providers};
use attach_proto::{
    id::PoolId,
    resources::ResourceName,
    v1::{self, ResourceKind},
};
use jiff_sqlx::Timestamp;
use sqlx::PgConnection;

/// A row, as a message.
#[derive(Debug)]
pub(crate) struct Row<M> {
    pub(crate) name: ResourceName,
    pub(crate) version: u64,
    pub(crate) message: M,
}

/// Pools and the number of the last change that touched what their agents serve.
pub(crate) async fn revisions(
    connection: &mut PgConnection,
    pools: &[String],
) -> Result<Vec<(String, u64)>, DbError> {
    let rows =
        sqlx::query!("select id, revision from pool where id = any($1)", pools).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.revision.unsigned_abs())).collect())
}

pub(crate) async fn tenants(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Vec<Row<v1::Tenant>>, DbError> {
    let rows = sqlx::query!(
        "select tenant_id, name, quota_store_id, on_quota_outage, durability, did_policy, version from tenant
         where tenant_id in (select tenant_id from pool_membership where pool_id = $1 and until is null)",
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;

    let rows = rows.into_iter().map(|row| {
        let did = row.did_policy.map(serde_json::from_value).transpose();
        let did = did.map_err(|_| DbError::corrupt("tenant", &row.tenant_id))?;
        Ok(Row {
            name: ResourceName::global(ResourceKind::Tenant, row.tenant_id.as_str()),
            version: row.version.unsigned_abs(),
            message: v1::Tenant {
                did,
                id: row.tenant_id,
                name: row.name,
                quota_store: row.quota_store_id,
                on_quota_outage: match row.on_quota_outage.as_str() {
                    "allow" => v1::QuotaOutage::Allow,
                    _ => v1::QuotaOutage::Deny,
                }
                .into(),
                durability: match row.durability.as_str() {
                    "relaxed" => v1::Durability::Relaxed,
                    _ => v1::Durability::Strict,
                }
                .into(),
            },
        })
    });
    rows.collect()
}

/// A store with its address as it is kept: sealed.
#[derive(Debug)]
pub(crate) struct StoreRow {
    pub(crate) id: String,
    pub(crate) version: u64,
    /// `None` for one in the memory of a gateway.
    pub(crate) sealed_url: Option<String>,
    pub(crate) call_budget_ms: Option<i32>,
}

pub(crate) async fn quota_stores(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Vec<StoreRow>, DbError> {
    let rows = sqlx::query!(
        "select id, sealed_url, call_budget_ms, version from quota_store
         where id in (select quota_store_id from tenant join pool_membership using (tenant_id)
                      where pool_id = $1 and until is null)",
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| StoreRow {
        id: row.id,
        version: row.version.unsigned_abs(),
        sealed_url: row.sealed_url,
        call_budget_ms: row.call_budget_ms,
    });
    Ok(rows.collect())
}

pub(crate) async fn identity_providers(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Vec<Row<v1::IdentityProvider>>, DbError> {
    let rows = sqlx::query!(
        r#"select tenant_id, id, provider.issuer, settings, array(
                   select distinct audience from identity_audience audience
                   where audience.tenant_id = provider.tenant_id and audience.provider_id = provider.id
                   order by audience) as "audiences!",
               greatest(provider.version, keys.version) as "version!",
               keys.effective_issuer as "effective_issuer?", keys.jwks as "jwks?"
           from identity_provider provider left join issuer_key_set keys
               on provider.settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE' and keys.issuer = provider.issuer
                   and keys.jwks_url = coalesce(provider.settings ->> 'jwks_url', '')
           where tenant_id in (select tenant_id from pool_membership where pool_id = $1 and until is null)"#,
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| {
        Ok(Row {
            name: ResourceName::of_tenant(
                ResourceKind::IdentityProvider,
                row.tenant_id.as_str(),
                row.id.as_str(),
            ),
            version: row.version.unsigned_abs(),
            message: with_keys(
                identity_providers::message(identity_providers::Row {
                    tenant_id: row.tenant_id,
                    id: row.id,
                    issuer: row.issuer,
                    audiences: row.audiences,
                    settings: row.settings,
                })?,
                row.effective_issuer.zip(row.jwks),
            ),
        })
    });
    rows.collect()
}

/// With the keys that we have of its issuer, under the name that the issuer's metadata has for it.
fn with_keys(provider: v1::IdentityProvider, keys: Option<(String, String)>) -> v1::IdentityProvider {
    match keys {
        Some((issuer, jwks)) => v1::IdentityProvider { issuer, jwks, ..provider },
        None => provider,
    }
}

/// Those that were not revoked. One that has expired is there: the gateway can then say so to its holder.
pub(crate) async fn api_keys(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Vec<Row<v1::ApiKey>>, DbError> {
    let rows = sqlx::query!(
        r#"select tenant_id, id, encode(sha256, 'hex') as "sha256!", owner, groups, scopes, models,
               coalesce(encode(previous_sha256, 'hex'), '') as "previous_sha256!",
               previous_until as "previous_until: Timestamp", expires_at as "expires_at: Timestamp", version
           from api_key
           where revoked_at is null
               and tenant_id in (select tenant_id from pool_membership where pool_id = $1 and until is null)"#,
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        name: ResourceName::of_tenant(ResourceKind::ApiKey, row.tenant_id.as_str(), row.id.as_str()),
        version: row.version.unsigned_abs(),
        message: v1::ApiKey {
            id: row.id,
            tenant: row.tenant_id,
            sha256: row.sha256,
            owner: row.owner,
            groups: row.groups,
            expires_at: row.expires_at.map(|at| attach_proto::timestamp(at.to_jiff())),
            scopes: row.scopes,
            models: row.models,
            previous_sha256: row.previous_sha256,
            previous_until: row.previous_until.map(|at| attach_proto::timestamp(at.to_jiff())),
        },
    });
    Ok(rows.collect())
}

/// Those that some tenant of the pool may see.
pub(crate) async fn models(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Vec<Row<v1::Model>>, DbError> {
    let rows = sqlx::query!(
        r#"select name, aliases, max_output_tokens, version,
               array(select tenant_id from pool_membership member
                     where member.pool_id = $1 and until is null and tenant_id = any(only_tenants)
                     order by tenant_id) as "tenants!",
               array(select upstream from model_target target
                     where target.pool_id = $1 and target.model_name = model.name order by position) as "upstreams!",
               array(select engine_model from model_target target
                     where target.pool_id = $1 and target.model_name = model.name order by position) as "engine_models!"
           from model
           where pool_id = $1 and (only_tenants = '{}' or exists (
               select from pool_membership member
               where member.pool_id = $1 and until is null and tenant_id = any(only_tenants)))"#,
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        name: ResourceName::global(ResourceKind::Model, row.name.as_str()),
        version: row.version.unsigned_abs(),
        message: v1::Model {
            name: row.name,
            aliases: row.aliases,
            targets: row
                .upstreams
                .into_iter()
                .zip(row.engine_models)
                .map(|(upstream, engine_model)| v1::ModelTarget { upstream, engine_model })
                .collect(),
            max_output_tokens: row.max_output_tokens.unwrap_or_default().unsigned_abs(),
            tenants: row.tenants,
        },
    });
    Ok(rows.collect())
}

pub(crate) async fn limits(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Vec<Row<v1::Limit>>, DbError> {
    let rows = sqlx::query!(
        "select tenant_id, id, counter, measure, window_ms, amount, principals, groups, models, keys, version
         from usage_limit
         where tenant_id in (select tenant_id from pool_membership where pool_id = $1 and until is null)",
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        name: ResourceName::of_tenant(ResourceKind::Limit, row.tenant_id.as_str(), row.id.as_str()),
        version: row.version.unsigned_abs(),
        message: v1::Limit {
            id: row.id,
            tenant: row.tenant_id,
            counter: number(v1::Counter::from_str_name, "COUNTER_", &row.counter),
            scope: Some(v1::LimitScope {
                principals: row.principals,
                groups: row.groups,
                models: row.models,
                keys: row.keys,
            }),
            measure: number(v1::Measure::from_str_name, "MEASURE_", &row.measure),
            window: Some(milliseconds(row.window_ms)),
            amount: row.amount.unsigned_abs(),
        },
    });
    Ok(rows.collect())
}

pub(crate) async fn access_rules(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Vec<Row<v1::AccessRule>>, DbError> {
    let rows = sqlx::query!(
        "select tenant_id, id, principals, groups, roles, scopes, models, permissions, version from access_rule
         where tenant_id in (select tenant_id from pool_membership where pool_id = $1 and until is null)",
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        name: ResourceName::of_tenant(ResourceKind::AccessRule, row.tenant_id.as_str(), row.id.as_str()),
        version: row.version.unsigned_abs(),
        message: v1::AccessRule {
            id: row.id,
            tenant: row.tenant_id,
            principals: row.principals,
            groups: row.groups,
            roles: row.roles,
            scopes: row.scopes,
            models: row.models,
            permissions: row
                .permissions
                .iter()
                .map(|name| number(v1::Permission::from_str_name, "PERMISSION_", name))
                .collect(),
        },
    });
    Ok(rows.collect())
}

/// `None` for a pool that opens none: an agent that knows nothing of them serves it too.
pub(crate) async fn routes(
    connection: &mut PgConnection,
    pool: &PoolId,
) -> Result<Option<Row<v1::Routes>>, DbError> {
    let head = sqlx::query!("select registries, version from pool_routes where pool_id = $1", pool.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(head) = head else { return Ok(None) };
    let rows = sqlx::query!(
        "select path, methods, permission, metering, dialect, upstream from allowed_route
         where pool_id = $1 order by position",
        pool.as_str()
    )
    .fetch_all(connection)
    .await?;
    let allow = rows.into_iter().map(|row| v1::AllowedRoute {
        path: row.path,
        methods: row.methods,
        permission: number(v1::Permission::from_str_name, "PERMISSION_", &row.permission),
        metering: number(v1::Metering::from_str_name, "METERING_", &row.metering),
        dialect: number(v1::Dialect::from_str_name, "DIALECT_", &row.dialect),
        upstream: row.upstream.unwrap_or_default(),
    });
    Ok(Some(Row {
        name: ResourceName::global(ResourceKind::Routes, "routes"),
        version: head.version.unsigned_abs(),
        message: v1::Routes { allow: allow.collect(), registries: head.registries },
    }))
}

/// The wire's number for a word of a column, whose check allows no others: `total_tokens` is `MEASURE_TOTAL_TOKENS`.
/// What the wire does not know is its zero, which no agent takes.
fn number<E: Into<i32>>(by_name: fn(&str) -> Option<E>, prefix: &str, word: &str) -> i32 {
    by_name(&format!("{prefix}{}", word.to_uppercase())).map_or(0, Into::into)
}

fn milliseconds(number: i64) -> pbjson_types::Duration {
    let nanos = number.rem_euclid(1000) * 1_000_000;
    pbjson_types::Duration {
        seconds: number.div_euclid(1000),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}
