//! Sums by the hour.

use crate::db::DbError;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Whose sum, of what, in which hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HourKey<'a> {
    pub(crate) tenant: &'a str,
    /// Seconds since the Unix epoch, of the beginning.
    pub(crate) hour: i64,
    pub(crate) principal_kind: i16,
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) model: &'a str,
    /// Empty for requests that measured nothing.
    pub(crate) kind: &'a str,
    pub(crate) source: i16,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HourSum {
    pub(crate) quantity: u128,
    /// Of which this is the first measure: each request counts once.
    pub(crate) requests: i64,
}

/// In the order of the keys, so that two batches never wait for each other in a circle.
pub(crate) async fn add_to_hours(
    connection: &mut PgConnection,
    sums: &BTreeMap<HourKey<'_>, HourSum>,
) -> Result<(), DbError> {
    let tenants: Vec<&str> = sums.keys().map(|key| key.tenant).collect();
    let issuers: Vec<&str> = sums.keys().map(|key| key.issuer).collect();
    let subjects: Vec<&str> = sums.keys().map(|key| key.subject).collect();
    let models: Vec<&str> = sums.keys().map(|key| key.model).collect();
    let kinds: Vec<&str> = sums.keys().map(|key| key.kind).collect();
    let hours: Vec<i64> = sums.keys().map(|key| key.hour).collect();
    let principal_kinds: Vec<i16> = sums.keys().map(|key| key.principal_kind).collect();
    let sources: Vec<i16> = sums.keys().map(|key| key.source).collect();
    // Numbers of this size are no type that the wire of Postgres has.
    let quantities: Vec<String> = sums.values().map(|sum| sum.quantity.to_string()).collect();
    let requests: Vec<i64> = sums.values().map(|sum| sum.requests).collect();
    sqlx::query!(
        "insert into usage_hour (tenant_id, hour, principal_kind, issuer, subject, model, kind, source, quantity, requests)
         select tenant_id, to_timestamp(hour), principal_kind, issuer, subject, model, kind, source, quantity::numeric,
             requests
         from unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::smallint[], $9::text[], $10::bigint[])
             as sum (tenant_id, hour, principal_kind, issuer, subject, model, kind, source, quantity, requests)
         on conflict (tenant_id, hour, principal_kind, issuer, subject, model, kind, source) do update set
             quantity = usage_hour.quantity + excluded.quantity, requests = usage_hour.requests + excluded.requests",
        &tenants as &[&str],
        &hours,
        &principal_kinds,
        &issuers as &[&str],
        &subjects as &[&str],
        &models as &[&str],
        &kinds as &[&str],
        &sources,
        &quantities,
        &requests,
    )
    .execute(connection)
    .await?;
    Ok(())
}
