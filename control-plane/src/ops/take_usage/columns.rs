//! Events as the table keeps them.

use super::sort::Good;
use crate::db::usage::{Attempt, Columns, Measure};
use attach_proto::{
    usage::{MeasureSource, UsageEvent},
    v1,
};
use aws_lc_rs::digest::{SHA256, digest};
use sqlx::types::Json;
use std::time::Duration;

pub(super) fn columns<'a>(events: &'a [Good<'_>]) -> Columns<'a> {
    let mut columns = Columns::default();
    for Good { seq, body, event } in events {
        columns.seq.push(*seq);
        columns.sha256.push(digest(&SHA256, body).as_ref().to_vec());
        push(&mut columns, event);
    }
    columns
}

fn push<'a>(columns: &mut Columns<'a>, event: &'a UsageEvent) {
    columns.tenant.push(event.tenant.as_str());
    columns.occurred_at_us.push(event.occurred_at.as_microsecond());
    columns.event_id.push(event.event_id);
    columns.request_id.push(&event.request_id);
    columns.operation.push(&event.operation);
    columns.dialect.push(&event.dialect);
    columns.model.push(model(event));
    columns.stream.push(event.stream);
    columns.principal_kind.push(principal_kind(event));
    columns.subject.push(&event.principal.subject);
    columns.issuer.push(event.principal.issuer.as_deref().unwrap_or_default());
    columns.key_id.push(event.principal.key.as_ref().map(|key| key.as_str()).unwrap_or_default());
    columns.groups.push(Json(&event.principal.groups));
    columns.project.push(event.principal.project.as_deref().unwrap_or_default());
    columns.measures.push(Json(measures(event)));
    columns.outcome.push(small(v1::Outcome::from(event.outcome).into()));
    columns
        .http_status
        .push(event.http_status.and_then(|status| i16::try_from(status).ok()).unwrap_or_default());
    columns.bundle_revision.push(i64::try_from(event.bundle_revision.0).unwrap_or(i64::MAX));
    columns.attempts.push(Json(attempts(event)));
    columns.time_to_first_byte_ms.push(event.time_to_first_byte.map(milliseconds));
    columns.duration_ms.push(milliseconds(event.duration));
}

fn measures(event: &UsageEvent) -> Vec<Measure<'_>> {
    let measures = event.measures.iter().map(|measure| Measure {
        kind: &measure.kind,
        quantity: measure.quantity,
        source: source(measure.source),
    });
    measures.collect()
}

fn attempts(event: &UsageEvent) -> Vec<Attempt<'_>> {
    let attempts = event.attempts.iter().map(|attempt| Attempt {
        upstream: attempt.upstream.as_str(),
        engine_model: attempt.engine_model.as_ref().map(|model| model.as_str()),
        http_status: attempt.http_status,
        error: attempt.error.as_deref(),
    });
    attempts.collect()
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Empty for requests that are about no model.
pub(super) fn model(event: &UsageEvent) -> &str {
    event.model.as_ref().map(|model| model.as_str()).unwrap_or_default()
}

/// The wire's own numbers are what the tables keep.
pub(super) fn principal_kind(event: &UsageEvent) -> i16 {
    small(v1::PrincipalKind::from(event.principal.kind).into())
}

pub(super) fn source(source: MeasureSource) -> i16 {
    small(v1::MeasureSource::from(source).into())
}

fn small(number: i32) -> i16 {
    i16::try_from(number).unwrap_or_default()
}
