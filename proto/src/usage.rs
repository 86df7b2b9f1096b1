//! The immutable record of one request's consumption.

use crate::{
    id::{AgentId, KeyId, ModelName, PoolId, Revision, TenantId, UpstreamId},
    v1,
};
use jiff::Timestamp;
use std::{borrow::Cow, time::Duration};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq)]
pub struct UsageEvent {
    /// `UUIDv7` made at admission: the ticket, the reservation and this event are one.
    pub event_id: Uuid,
    pub occurred_at: Timestamp,
    pub tenant: TenantId,
    pub pool: Option<PoolId>,
    pub agent: AgentId,
    pub request_id: String,
    pub operation: Cow<'static, str>,
    pub dialect: Cow<'static, str>,
    /// Public name, canonical; `None` for requests that are about no model.
    pub model: Option<ModelName>,
    pub stream: bool,
    pub principal: PrincipalSnapshot,
    pub measures: Vec<MeasuredQuantity>,
    pub outcome: Outcome,
    /// The status that the caller got; `None` when it left before one was sent.
    pub http_status: Option<u16>,
    pub bundle_revision: Revision,
    pub attempts: Vec<Attempt>,
    pub time_to_first_byte: Option<Duration>,
    pub duration: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PrincipalSnapshot {
    pub kind: PrincipalKind,
    pub subject: String,
    pub issuer: Option<String>,
    pub key: Option<KeyId>,
    pub groups: Vec<String>,
    pub project: Option<String>,
    /// Of a multi-tenant application, as its identity provider names it.
    pub organisation: Option<String>,
    pub cost_centre: Option<String>,
    pub email: Option<String>,
    /// The key of the application that named this caller.
    pub delegated_by: Option<KeyId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    User,
    Service,
    Key,
    Did,
}

impl PrincipalKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Key => "key",
            Self::Did => "did",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredQuantity {
    pub kind: Cow<'static, str>,
    pub quantity: u64,
    pub source: MeasureSource,
}

impl MeasuredQuantity {
    pub const INPUT_TOKENS: &'static str = "input_tokens";
    pub const OUTPUT_TOKENS: &'static str = "output_tokens";
    /// Part of the input tokens that the engine took from its prefix cache.
    pub const CACHED_INPUT_TOKENS: &'static str = "cached_input_tokens";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureSource {
    Engine,
    Estimated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Complete,
    ClientGone,
    EngineError,
    Cut,
    TimedOut,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::EngineError => "engine_error",
            Self::Cut => "cut",
            Self::TimedOut => "timed_out",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub upstream: UpstreamId,
    /// The engine's name of the model; `None` for requests that are about no model.
    pub engine_model: Option<ModelName>,
    pub http_status: Option<u16>,
    /// In a word of the gateway's own, such as `connect_failed`.
    pub error: Option<Cow<'static, str>>,
}

impl UsageEvent {
    /// Sum of a kind of measure; `None` when the event has none of it.
    pub fn quantity(&self, kind: &str) -> Option<u64> {
        self.measures.iter().find(|measure| measure.kind == kind).map(|measure| measure.quantity)
    }
}

// === to the wire ===

impl From<UsageEvent> for v1::UsageEvent {
    fn from(event: UsageEvent) -> Self {
        // Destructured whole, so that a new field cannot be forgotten here.
        let UsageEvent {
            event_id,
            occurred_at,
            tenant,
            pool,
            agent,
            request_id,
            operation,
            dialect,
            model,
            stream,
            principal,
            measures,
            outcome,
            http_status,
            bundle_revision,
            attempts,
            time_to_first_byte,
            duration,
        } = event;
        Self {
            event_id: event_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned(),
            occurred_at: Some(timestamp(occurred_at)),
            tenant: tenant.into(),
            pool: pool.map(Into::into).unwrap_or_default(),
            agent: agent.into(),
            request_id,
            operation: operation.into_owned(),
            dialect: dialect.into_owned(),
            model: model.map(Into::into).unwrap_or_default(),
            stream,
            principal: Some(principal.into()),
            measures: measures.into_iter().map(Into::into).collect(),
            outcome: v1::Outcome::from(outcome).into(),
            http_status: http_status.unwrap_or_default().into(),
            bundle_revision: bundle_revision.0,
            attempts: attempts.into_iter().map(Into::into).collect(),
            time_to_first_byte: time_to_first_byte.map(crate::convert::duration),
            duration: Some(crate::convert::duration(duration)),
        }
    }
}

impl From<PrincipalSnapshot> for v1::PrincipalSnapshot {
    fn from(principal: PrincipalSnapshot) -> Self {
        let PrincipalSnapshot {
            kind,
            subject,
            issuer,
            key,
            groups,
            project,
            organisation,
            cost_centre,
            email,
            delegated_by,
        } = principal;
        Self {
            kind: v1::PrincipalKind::from(kind).into(),
            subject,
            issuer: issuer.unwrap_or_default(),
            key: key.map(Into::into).unwrap_or_default(),
            groups,
            project: project.unwrap_or_default(),
            organisation: organisation.unwrap_or_default(),
            cost_centre: cost_centre.unwrap_or_default(),
            email: email.unwrap_or_default(),
            delegated_by: delegated_by.map(Into::into).unwrap_or_default(),
        }
    }
}

impl From<PrincipalKind> for v1::PrincipalKind {
    fn from(kind: PrincipalKind) -> Self {
        match kind {
            PrincipalKind::User => Self::User,
            PrincipalKind::Service => Self::Service,
            PrincipalKind::Key => Self::Key,
            PrincipalKind::Did => Self::Did,
        }
    }
}

impl From<MeasuredQuantity> for v1::MeasuredQuantity {
    fn from(measure: MeasuredQuantity) -> Self {
        let MeasuredQuantity { kind, quantity, source } = measure;
        Self { kind: kind.into_owned(), quantity, source: v1::MeasureSource::from(source).into() }
    }
}

impl From<MeasureSource> for v1::MeasureSource {
    fn from(source: MeasureSource) -> Self {
        match source {
            MeasureSource::Engine => Self::Engine,
            MeasureSource::Estimated => Self::Estimated,
        }
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Complete => Self::Complete,
            Outcome::ClientGone => Self::ClientGone,
            Outcome::EngineError => Self::EngineError,
            Outcome::Cut => Self::Cut,
            Outcome::TimedOut => Self::TimedOut,
        }
    }
}

impl From<Attempt> for v1::Attempt {
    fn from(attempt: Attempt) -> Self {
        let Attempt { upstream, engine_model, http_status, error } = attempt;
        Self {
            upstream: upstream.into(),
            engine_model: engine_model.map(Into::into).unwrap_or_default(),
            http_status: http_status.unwrap_or_default().into(),
            error: error.map(Cow::into_owned).unwrap_or_default(),
        }
    }
}

/// A moment on the wire.
pub fn timestamp(at: Timestamp) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}
