//! Issuers that this control plane asks for keys itself: which, when, by whose wish, and what failed.

use super::DbError;
use crate::domain::issuer_keys::Source;
use attach_proto::id::PoolId;
use sqlx::PgConnection;
use std::time::Duration;

/// What is to be asked now.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) source: Source,
    /// What its metadata said last: the form of its name, and where its keys are.
    pub(crate) known: Option<(String, String)>,
}

/// Holds other control planes off until the transaction ends, so that one at a time looks what is due.
pub(crate) async fn try_lock(connection: &mut PgConnection) -> Result<bool, DbError> {
    /// Any number that no other lock of this database has.
    const LOCK: i64 = 0x6b65_7973;
    let is_ours = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "is_ours!""#, LOCK)
        .fetch_one(connection)
        .await?;
    Ok(is_ours)
}

/// Brings the sources in line with the providers.
pub(crate) async fn sync(connection: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!(
        "insert into issuer_key_set (issuer, jwks_url)
         select distinct issuer, coalesce(settings ->> 'jwks_url', '') from identity_provider
         where settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE'
         on conflict do nothing"
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "delete from issuer_key_set source where not exists (
             select from identity_provider provider
             where provider.issuer = source.issuer and coalesce(provider.settings ->> 'jwks_url', '') = source.jwks_url
                 and provider.settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE')"
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Those that are due, and are ours to ask now: for nobody else until `lease` is over.
pub(crate) async fn claim_due(
    connection: &mut PgConnection,
    most: usize,
    lease: Duration,
) -> Result<Vec<Due>, DbError> {
    let rows = sqlx::query!(
        "update issuer_key_set source set next_attempt_at = now() + $2::float8 * interval '1 second'
         from (select issuer, jwks_url from issuer_key_set where next_attempt_at <= now()
               order by next_attempt_at limit $1 for update skip locked) due
         where source.issuer = due.issuer and source.jwks_url = due.jwks_url
         returning source.issuer, source.jwks_url",
        i64::try_from(most).unwrap_or(i64::MAX),
        lease.as_secs_f64(),
    )
    .fetch_all(connection)
    .await?;
    let due = rows.into_iter().map(|row| Due {
        source: Source { issuer: row.issuer, jwks_url: row.jwks_url },
        // All of it is asked anew: what it said of itself too.
        known: None,
    });
    Ok(due.collect())
}

/// The sources of a pool's providers that an agent means. It knows the issuer as the metadata has it: with a slash more or less.
pub(crate) async fn meant(
    connection: &mut PgConnection,
    pool: &PoolId,
    wanted: &Source,
) -> Result<Vec<Source>, DbError> {
    let rows = sqlx::query_as!(
        Source,
        "select distinct source.issuer, source.jwks_url
         from issuer_key_set source
         join identity_provider provider on provider.issuer = source.issuer
             and coalesce(provider.settings ->> 'jwks_url', '') = source.jwks_url
             and provider.settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE'
         join pool_membership member on member.tenant_id = provider.tenant_id
         where member.pool_id = $1 and member.until is null
             and source.issuer = any($2) and source.jwks_url = $3",
        pool.as_str(),
        &wanted.forms(),
        wanted.jwks_url,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// `Some` when it is ours to ask at an agent's wish, which nobody had within `cool_down`. Else it is asked when that is over.
pub(crate) async fn claim_demanded(
    connection: &mut PgConnection,
    source: &Source,
    cool_down: Duration,
    lease: Duration,
) -> Result<Option<Due>, DbError> {
    let row = sqlx::query!(
        "update issuer_key_set set demanded_at = now(), next_attempt_at = now() + $4::float8 * interval '1 second'
         where issuer = $1 and jwks_url = $2
             and (demanded_at is null or demanded_at <= now() - $3::float8 * interval '1 second')
         returning effective_issuer, jwks_uri",
        source.issuer,
        source.jwks_url,
        cool_down.as_secs_f64(),
        lease.as_secs_f64(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = row {
        return Ok(Some(Due { source: source.clone(), known: row.effective_issuer.zip(row.jwks_uri) }));
    }
    sqlx::query!(
        "update issuer_key_set
         set next_attempt_at = least(next_attempt_at, demanded_at + $3::float8 * interval '1 second')
         where issuer = $1 and jwks_url = $2",
        source.issuer,
        source.jwks_url,
        cool_down.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(None)
}

/// Whether what an agent wished has ended, and then how: `Some(None)` when it went well.
pub(crate) async fn outcome(
    connection: &mut PgConnection,
    source: &Source,
) -> Result<Option<Option<String>>, DbError> {
    let row = sqlx::query!(
        r#"select coalesce(ended_at >= demanded_at, false) as "has_ended!", problem from issuer_key_set
           where issuer = $1 and jwks_url = $2"#,
        source.issuer,
        source.jwks_url,
    )
    .fetch_optional(connection)
    .await?;
    // One that is gone is no longer anybody's to wait for.
    Ok(match row {
        Some(row) => row.has_ended.then_some(row.problem),
        None => Some(None),
    })
}

/// What is held stays. How many attempts have failed in a row.
pub(crate) async fn fail(
    connection: &mut PgConnection,
    source: &Source,
    problem: &str,
) -> Result<u32, DbError> {
    let failures = sqlx::query_scalar!(
        "update issuer_key_set set ended_at = now(), failures = failures + 1, problem = $3
         where issuer = $1 and jwks_url = $2 returning failures",
        source.issuer,
        source.jwks_url,
        problem,
    )
    .fetch_optional(connection)
    .await?;
    Ok(failures.unwrap_or_default().unsigned_abs())
}

pub(crate) async fn retry_after(
    connection: &mut PgConnection,
    source: &Source,
    pause: Duration,
) -> Result<(), DbError> {
    sqlx::query!(
        "update issuer_key_set set next_attempt_at = now() + $3::float8 * interval '1 second'
         where issuer = $1 and jwks_url = $2",
        source.issuer,
        source.jwks_url,
        pause.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
