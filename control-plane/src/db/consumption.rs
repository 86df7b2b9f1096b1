//! Usage as pages and reports read it: sums from the hours, single requests from the events.

use super::DbError;
use crate::domain::{
    page::{Page, Part},
    usage::{EventRecord, UsageQuery, UsageSum, UsageUser},
};
use attach_proto::{
    id::TenantId,
    usage::{MeasuredQuantity, Outcome, PrincipalKind},
    v1,
};
use jiff_sqlx::{Timestamp, ToSqlx as _};
use sqlx::PgConnection;

/// The most sums that one question gives: a month of hours for seven users, or as many users of a tenant. More is no page
/// that anybody reads, and some ten megabytes.
pub(crate) const MAX_SUMS: usize = 5_000;

/// With so many kinds of measure each. What has more rows is more than one question gives, and is not cut short unseen.
const MAX_ROWS: usize = (MAX_SUMS + 1) * 8;

/// A place in the events: the last one's time and id.
#[derive(Debug, Clone)]
pub(crate) struct EventPlace {
    pub(crate) occurred_at: jiff::Timestamp,
    pub(crate) event_id: String,
}

struct SumRow {
    start: Option<Timestamp>,
    principal_kind: Option<i16>,
    issuer: Option<String>,
    subject: Option<String>,
    model: Option<String>,
    kind: String,
    quantity: i64,
    requests: i64,
}

/// In the order of time, user and model. `None` when there are more than [`MAX_SUMS`].
pub(crate) async fn sums(
    connection: &mut PgConnection,
    tenant: &TenantId,
    query: &UsageQuery,
) -> Result<Option<Vec<UsageSum>>, DbError> {
    let rows = sqlx::query_as!(
        SumRow,
        r#"select case when $4::text is null then null else date_trunc($4, hour, 'UTC') end as "start: Timestamp",
               case when $5::boolean then principal_kind end as principal_kind,
               case when $5 then issuer end as issuer, case when $5 then subject end as subject,
               case when $6::boolean then model end as model, kind,
               least(sum(quantity), 9223372036854775807)::bigint as "quantity!",
               sum(requests)::bigint as "requests!"
           from usage_hour where tenant_id = $1 and hour >= $2 and hour < $3
           group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6 limit $7"#,
        tenant.as_str(),
        query.from.to_sqlx() as Timestamp,
        query.to.to_sqlx() as Timestamp,
        query.step.map(crate::domain::usage::Step::name),
        query.by_user,
        query.by_model,
        i64::try_from(MAX_ROWS).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .await?;
    if rows.len() == MAX_ROWS {
        return Ok(None);
    }
    let mut sums: Vec<UsageSum> = Vec::new();
    for row in rows {
        let SumRow { start, principal_kind, issuer, subject, model, kind, quantity, requests } = row;
        let start = start.map(Timestamp::to_jiff);
        let user = user(principal_kind, issuer, subject);
        let is_next =
            sums.last().is_none_or(|last| (last.start, &last.user, &last.model) != (start, &user, &model));
        if is_next {
            sums.push(UsageSum { start, user, model, requests: 0, quantities: Vec::new() });
        }
        if let Some(sum) = sums.last_mut() {
            sum.requests = sum.requests.saturating_add(requests);
            if !kind.is_empty() {
                sum.quantities.push((kind, quantity));
            }
        }
    }
    Ok((sums.len() <= MAX_SUMS).then_some(sums))
}

/// The users, or the models, with most tokens, the first one first; and how many there are.
pub(crate) async fn most(
    connection: &mut PgConnection,
    tenant: &TenantId,
    query: &UsageQuery,
    rows: usize,
) -> Result<(Vec<UsageSum>, usize), DbError> {
    let rows = sqlx::query!(
        r#"with sums as (
               select case when $4::boolean then principal_kind end as principal_kind,
                   case when $4 then issuer end as issuer, case when $4 then subject end as subject,
                   case when $5::boolean then model end as model,
                   coalesce(sum(quantity) filter (where kind = 'input_tokens'), 0) as input,
                   coalesce(sum(quantity) filter (where kind = 'output_tokens'), 0) as output, sum(requests) as requests
               from usage_hour where tenant_id = $1 and hour >= $2 and hour < $3 group by 1, 2, 3, 4)
           select principal_kind, issuer, subject, model, least(input, 9223372036854775807)::bigint as "input!",
               least(output, 9223372036854775807)::bigint as "output!", requests::bigint as "requests!",
               count(*) over () as "count!"
           from sums order by input + output desc, issuer, subject, principal_kind, model limit $6"#,
        tenant.as_str(),
        query.from.to_sqlx() as Timestamp,
        query.to.to_sqlx() as Timestamp,
        query.by_user,
        query.by_model,
        i64::try_from(rows).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .await?;
    let count = rows.first().and_then(|row| usize::try_from(row.count).ok()).unwrap_or(0);
    let sums = rows.into_iter().map(|row| UsageSum {
        start: None,
        user: user(row.principal_kind, row.issuer, row.subject),
        model: row.model,
        requests: row.requests,
        quantities: vec![
            (MeasuredQuantity::INPUT_TOKENS.to_owned(), row.input),
            (MeasuredQuantity::OUTPUT_TOKENS.to_owned(), row.output),
        ],
    });
    Ok((sums.collect(), count))
}

fn user(kind: Option<i16>, issuer: Option<String>, subject: Option<String>) -> Option<UsageUser> {
    Some(UsageUser { kind: principal_kind_name(kind?), issuer: issuer?, subject: subject? })
}

/// Of all tenants, since a moment; the operator's.
pub(crate) async fn total_since(
    connection: &mut PgConnection,
    since: jiff::Timestamp,
) -> Result<UsageSum, DbError> {
    let rows = sqlx::query!(
        r#"select kind, least(sum(quantity), 9223372036854775807)::bigint as "quantity!",
               sum(requests)::bigint as "requests!"
           from usage_hour where hour >= $1 group by kind order by kind"#,
        since.to_sqlx() as Timestamp,
    )
    .fetch_all(connection)
    .await?;
    let mut sum = UsageSum { start: None, user: None, model: None, requests: 0, quantities: Vec::new() };
    for row in rows {
        sum.requests = sum.requests.saturating_add(row.requests);
        if !row.kind.is_empty() {
            sum.quantities.push((row.kind, row.quantity));
        }
    }
    Ok(sum)
}

/// The last first.
pub(crate) async fn events(
    connection: &mut PgConnection,
    tenant: &TenantId,
    page: &Page<EventPlace>,
) -> Result<Part<EventRecord>, DbError> {
    let rows = sqlx::query!(
        r#"select event_id::text as "event_id!", occurred_at as "occurred_at: Timestamp", request_id, pool_id, agent_id,
               operation, dialect, model, stream, principal_kind, issuer, subject, key_id, groups, project, measures,
               outcome, http_status, duration_ms
           from usage_event
           where tenant_id = $1 and ($2::timestamptz is null or (occurred_at, event_id) < ($2, $3::text::uuid))
           order by occurred_at desc, event_id desc limit $4"#,
        tenant.as_str(),
        page.after.as_ref().map(|place| place.occurred_at.to_sqlx()) as Option<Timestamp>,
        page.after.as_ref().map(|place| place.event_id.as_str()),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let events = rows.into_iter().map(|row| EventRecord {
        event_id: row.event_id,
        occurred_at: row.occurred_at.to_jiff(),
        request_id: row.request_id,
        pool: row.pool_id,
        agent: row.agent_id,
        operation: row.operation,
        dialect: row.dialect,
        model: row.model,
        stream: row.stream,
        user: UsageUser {
            kind: principal_kind_name(row.principal_kind),
            issuer: row.issuer,
            subject: row.subject,
        },
        key: row.key_id,
        groups: row.groups,
        project: row.project,
        measures: row.measures,
        outcome: outcome_name(row.outcome),
        http_status: row.http_status,
        duration_ms: row.duration_ms,
    });
    Ok(page.part(events.collect()))
}

/// What a later version wrote is `unknown` to this one.
fn principal_kind_name(number: i16) -> &'static str {
    match v1::PrincipalKind::try_from(i32::from(number)) {
        Ok(v1::PrincipalKind::User) => PrincipalKind::User.name(),
        Ok(v1::PrincipalKind::Service) => PrincipalKind::Service.name(),
        Ok(v1::PrincipalKind::Key) => PrincipalKind::Key.name(),
        Ok(v1::PrincipalKind::Did) => PrincipalKind::Did.name(),
        Ok(v1::PrincipalKind::Unspecified) | Err(_) => "unknown",
    }
}

fn outcome_name(number: i16) -> &'static str {
    match v1::Outcome::try_from(i32::from(number)) {
        Ok(v1::Outcome::Complete) => Outcome::Complete.name(),
        Ok(v1::Outcome::ClientGone) => Outcome::ClientGone.name(),
        Ok(v1::Outcome::EngineError) => Outcome::EngineError.name(),
        Ok(v1::Outcome::Cut) => Outcome::Cut.name(),
        Ok(v1::Outcome::TimedOut) => Outcome::TimedOut.name(),
        Ok(v1::Outcome::Unspecified) | Err(_) => "unknown",
    }
}
