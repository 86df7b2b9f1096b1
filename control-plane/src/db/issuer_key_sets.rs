//! Keys that issuers gave us, and how it stands with them.

use super::DbError;
use crate::domain::issuer_keys::{Found, KeyState, Pauses, Source};
use attach_proto::id::TenantId;
use jiff_sqlx::Timestamp;
use sqlx::PgConnection;
use std::{collections::HashMap, time::Duration};

/// Whether these are the keys that are held: then that is all there is to write.
pub(crate) async fn confirm(
    connection: &mut PgConnection,
    source: &Source,
    found: &Found,
    next: Duration,
) -> Result<bool, DbError> {
    let same = sqlx::query!(
        "update issuer_key_set
         set fetched_at = now(), ended_at = now(), failures = 0, problem = null, jwks_uri = $3, skipped_keys = $4,
             next_attempt_at = now() + $5::float8 * interval '1 second'
         where issuer = $1 and jwks_url = $2 and jwks = $6 and effective_issuer = $7",
        source.issuer,
        source.jwks_url,
        found.jwks_uri,
        number(found.skipped_keys),
        next.as_secs_f64(),
        found.jwks,
        found.effective_issuer,
    )
    .execute(connection)
    .await?;
    Ok(same.rows_affected() > 0)
}

/// Whether there is such a source still.
pub(crate) async fn replace(
    connection: &mut PgConnection,
    source: &Source,
    found: &Found,
    pauses: Pauses,
    version: i64,
) -> Result<bool, DbError> {
    let replaced = sqlx::query!(
        "update issuer_key_set
         set effective_issuer = $3, jwks_uri = $4, jwks = $5, keys = $6, skipped_keys = $7, fetched_at = now(),
             ended_at = now(), failures = 0, problem = null, version = $8,
             next_attempt_at = now() + $9::float8 * interval '1 second',
             demanded_at = demanded_at - $10::float8 * interval '1 second'
         where issuer = $1 and jwks_url = $2",
        source.issuer,
        source.jwks_url,
        found.effective_issuer,
        found.jwks_uri,
        found.jwks,
        number(found.keys),
        number(found.skipped_keys),
        version,
        pauses.refresh.as_secs_f64(),
        pauses.sooner_after_change.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(replaced.rows_affected() > 0)
}

/// Whether there are keys that are older than that.
pub(crate) async fn any_older_than(
    connection: &mut PgConnection,
    max_stale: Duration,
) -> Result<bool, DbError> {
    let any = sqlx::query_scalar!(
        r#"select exists (select from issuer_key_set
               where jwks is not null and fetched_at < now() - $1::float8 * interval '1 second') as "any!""#,
        max_stale.as_secs_f64(),
    )
    .fetch_one(connection)
    .await?;
    Ok(any)
}

/// Takes out the keys that are older than that. Whose they were.
pub(crate) async fn withdraw_older_than(
    connection: &mut PgConnection,
    max_stale: Duration,
    version: i64,
) -> Result<Vec<Source>, DbError> {
    let sources = sqlx::query_as!(
        Source,
        "update issuer_key_set set jwks = null, effective_issuer = null, keys = 0, skipped_keys = 0, version = $2
         where jwks is not null and fetched_at < now() - $1::float8 * interval '1 second' returning issuer, jwks_url",
        max_stale.as_secs_f64(),
        version,
    )
    .fetch_all(connection)
    .await?;
    Ok(sources)
}

/// A change of an issuer's keys is a change of each pool that serves a tenant who goes by them.
pub(crate) async fn touch_pools(
    connection: &mut PgConnection,
    source: &Source,
    revision: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "update pool set revision = $3 where id in (
             select member.pool_id from pool_membership member join identity_provider provider using (tenant_id)
             where member.until is null and provider.issuer = $1
                 and coalesce(provider.settings ->> 'jwks_url', '') = $2
                 and provider.settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE')",
        source.issuer,
        source.jwks_url,
        revision,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How it stands with the keys of a tenant's providers, by the providers' ids; those whose gateways ask themselves are left out.
pub(crate) async fn of_tenant(
    connection: &mut PgConnection,
    tenant: &TenantId,
    stale_after: Duration,
) -> Result<HashMap<String, KeyState>, DbError> {
    let rows = sqlx::query!(
        r#"select provider.id, coalesce(source.keys, 0) as "keys!", coalesce(source.skipped_keys, 0) as "skipped_keys!",
               source.fetched_at as "fetched_at?: Timestamp", source.problem as "problem?",
               coalesce(source.fetched_at < now() - $2::float8 * interval '1 second', true) as "is_stale!"
           from identity_provider provider left join issuer_key_set source
               on source.issuer = provider.issuer
                   and source.jwks_url = coalesce(provider.settings ->> 'jwks_url', '')
           where provider.tenant_id = $1 and provider.settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE'"#,
        tenant.as_str(),
        stale_after.as_secs_f64(),
    )
    .fetch_all(connection)
    .await?;
    let states = rows.into_iter().map(|row| {
        let state = KeyState {
            keys: row.keys.unsigned_abs(),
            skipped_keys: row.skipped_keys.unsigned_abs(),
            fetched_at: row.fetched_at.map(Timestamp::to_jiff),
            is_stale: row.is_stale,
            problem: row.problem,
        };
        (row.id, state)
    });
    Ok(states.collect())
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
