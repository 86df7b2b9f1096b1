//! The access log: one JSON line for each request. Who, when, what, how it was decided, tokens, times; never content.

use crate::{decisions::LineLog, identify::Principal, refusal::Refusal};
use attach_proto::usage::{MeasuredQuantity, UsageEvent};
use jiff::Timestamp;
use serde::Serialize;

/// Lines go to standard output; those that tell of a refusal also to the file that `attach-gateway explain` reads.
#[derive(Clone)]
pub(crate) struct AccessLog {
    pub(crate) lines: LineLog,
    pub(crate) refusals: LineLog,
}

/// The fields in the order in which a person reads them.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    request_id: &'a str,
    decision: &'a str,
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    /// For the operator: the check that failed, with its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

fn to_line(line: &Line<'_>) -> Vec<u8> {
    // A struct of texts and numbers always has a JSON form.
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// A request that was admitted, however it ended.
pub(crate) fn served(event: &UsageEvent) -> Vec<u8> {
    let milliseconds = |duration: std::time::Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    to_line(&Line {
        time: event.occurred_at,
        request_id: &event.request_id,
        decision: event.outcome.name(),
        status: event.http_status,
        tenant: Some(event.tenant.as_str()),
        principal: Some(&event.principal.subject),
        principal_kind: Some(event.principal.kind.name()),
        operation: Some(&event.operation),
        model: event.model.as_ref().map(|model| model.as_str()),
        stream: Some(event.stream),
        input_tokens: event.quantity(MeasuredQuantity::INPUT_TOKENS),
        output_tokens: event.quantity(MeasuredQuantity::OUTPUT_TOKENS),
        first_byte_ms: event.time_to_first_byte.map(milliseconds),
        duration_ms: Some(milliseconds(event.duration)),
        upstream: event.attempts.last().map(|attempt| attempt.upstream.as_str()),
        reason: None,
    })
}

/// A request that was refused before an engine saw it, or because none answered.
pub(crate) struct RefusedRequest<'a> {
    pub(crate) time: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) operation: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    pub(crate) refusal: &'a Refusal,
}

pub(crate) fn refused(request: &RefusedRequest<'_>) -> Vec<u8> {
    let RefusedRequest { time, request_id, principal, operation, model, refusal } = request;
    to_line(&Line {
        time: *time,
        request_id,
        decision: refusal.code(),
        status: Some(refusal.status().as_u16()),
        tenant: principal.map(|principal| principal.tenant.as_str()),
        principal: principal.map(|principal| principal.subject.as_str()),
        principal_kind: principal.map(|principal| principal.kind.name()),
        operation: *operation,
        model: *model,
        stream: None,
        input_tokens: None,
        output_tokens: None,
        first_byte_ms: None,
        duration_ms: None,
        upstream: None,
        reason: Some(&refusal.detail()),
    })
}

impl AccessLog {
    pub(crate) fn write(&self, line: &[u8]) {
        self.lines.write(line);
    }

    pub(crate) fn write_refusal(&self, line: &[u8]) {
        self.lines.write(line);
        self.refusals.write(line);
    }
}
