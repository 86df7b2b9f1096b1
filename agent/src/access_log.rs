//! The access log: one JSON line for each request. Who, when, what, how it was decided, tokens, times; never content.

use crate::{decisions::DecisionLog, identify::Principal, refusal::Refusal};
use attach_proto::usage::{MeasuredQuantity, UsageEvent};
use jiff::Timestamp;
use serde::Serialize;
use std::{net::IpAddr, time::Duration};

/// Lines go to standard output; those that tell of a refusal also to the file that `attach-gateway explain` reads.
#[derive(Clone)]
pub(crate) struct AccessLog {
    /// `None` when nobody wants to read it.
    pub(crate) lines: Option<DecisionLog>,
    pub(crate) refusals: DecisionLog,
}

/// The fields in the order in which a person reads them.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
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

impl AccessLog {
    /// A request that was admitted, however it ended.
    pub(crate) fn served(&self, event: &UsageEvent, client: Option<IpAddr>) {
        let Some(lines) = &self.lines else { return };
        let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        lines.write(&Line {
            time: event.occurred_at,
            request_id: &event.request_id,
            client,
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
        });
    }

    /// Lines that found no room since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.lines.as_ref().map_or(0, DecisionLog::dropped) + self.refusals.dropped()
    }

    pub(crate) fn refused(&self, request: &RefusedRequest<'_>) {
        let RefusedRequest { time, request_id, client, principal, operation, model, refusal } = request;
        let line = Line {
            time: *time,
            request_id,
            client: Some(*client),
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
        };
        // Who was admitted has its line already, written when its ticket was settled.
        if let Some(lines) = &self.lines
            && !refusal.is_after_admission()
        {
            lines.write(&line);
        }
        self.refusals.write(&line);
    }
}

/// A request that was refused before an engine saw it, or because none answered.
pub(crate) struct RefusedRequest<'a> {
    pub(crate) time: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) operation: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    pub(crate) refusal: &'a Refusal,
}
