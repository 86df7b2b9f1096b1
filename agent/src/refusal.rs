//! Refusals: one closed enum, one table, one body per dialect.
//!
//! Two audiences: the caller is told what it can act on, in the words of this table; the operator gets the detail in
//! the log and by `attach-gateway explain`, under the same request id.

use crate::{
    admit::{NotAdmitted, Reached, Standing},
    ask::{AskFault, BodyFault, Dialect, RouteFault},
    authorize::Forbidden,
    forward::EngineFault,
    identify::IdentityFault,
    route::NoRoute,
};
use attach_proto::bundle::{Measure, Permission};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use std::time::Duration;

/// Why a request is not served. Each stage has its own closed set of reasons.
#[derive(Debug)]
pub(crate) enum Refusal {
    Route(RouteFault),
    Host,
    Identity(IdentityFault),
    Body(BodyFault),
    Ask(AskFault),
    Forbidden(Forbidden),
    NotAdmitted(NotAdmitted),
    NoRoute(NoRoute),
    Engine(EngineFault),
    /// The answer is there, but its usage could not be made durable, and the tenant wants no answer without that.
    NotRecorded,
    /// The disk that usage goes to is out of order, so nothing is begun.
    SpoolOutOfOrder,
}

/// Who has to do something about it; a label of the metric of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Blame {
    Caller,
    Issuer,
    QuotaStore,
    Engine,
    Gateway,
}

impl Blame {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Issuer => "issuer",
            Self::QuotaStore => "quota_store",
            Self::Engine => "engine",
            Self::Gateway => "gateway",
        }
    }
}

/// A line of the table.
struct Line {
    status: StatusCode,
    /// Stable, for programs.
    code: &'static str,
    blame: Blame,
    retry_after: Option<Duration>,
}

const fn line(status: StatusCode, code: &'static str, blame: Blame) -> Line {
    Line { status, code, blame, retry_after: None }
}

impl Line {
    const fn retry(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }
}

/// For what mends itself, or not, within a moment.
const SOON: Duration = Duration::from_secs(1);

impl Refusal {
    /// The table. No catch-all arm, so that a new reason must be placed.
    fn line(&self) -> Line {
        use Blame::{Caller, Engine, Gateway, Issuer, QuotaStore};
        match self {
            Self::Route(RouteFault::Unknown) => line(StatusCode::NOT_FOUND, "unknown_route", Caller),
            Self::Route(RouteFault::Method(_)) => {
                line(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", Caller)
            }
            Self::Host => line(StatusCode::BAD_REQUEST, "invalid_host", Caller),
            Self::Identity(fault) if fault.retry_after().is_some() => Line {
                retry_after: fault.retry_after(),
                ..line(StatusCode::SERVICE_UNAVAILABLE, "issuer_unavailable", Issuer)
            },
            Self::Identity(IdentityFault::NoCredential) => {
                line(StatusCode::UNAUTHORIZED, "missing_credential", Caller)
            }
            Self::Identity(_) => line(StatusCode::UNAUTHORIZED, "invalid_credential", Caller),
            Self::Body(BodyFault::TooLarge { .. }) => {
                line(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", Caller)
            }
            Self::Body(BodyFault::NoRoom) => {
                line(StatusCode::SERVICE_UNAVAILABLE, "overloaded", Gateway).retry(SOON)
            }
            Self::Body(BodyFault::TooSlow) => line(StatusCode::REQUEST_TIMEOUT, "request_timeout", Caller),
            Self::Body(BodyFault::Broken) => line(StatusCode::BAD_REQUEST, "invalid_request", Caller),
            Self::Ask(_) => line(StatusCode::BAD_REQUEST, "invalid_request", Caller),
            Self::Forbidden(Forbidden::Permission(_)) => {
                line(StatusCode::FORBIDDEN, "permission_denied", Caller)
            }
            Self::Forbidden(Forbidden::Model(_)) => line(StatusCode::FORBIDDEN, "model_not_allowed", Caller),
            Self::Forbidden(Forbidden::UnknownModel(_)) | Self::NoRoute(NoRoute::NoUpstream) => {
                line(StatusCode::NOT_FOUND, "model_not_found", Caller)
            }
            Self::NotAdmitted(NotAdmitted::Reached(reached)) => {
                let retry_after = reached.retry_after;
                Line { retry_after, ..line(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", Caller) }
            }
            Self::NotAdmitted(NotAdmitted::StoreUnavailable(_)) => {
                line(StatusCode::SERVICE_UNAVAILABLE, "quota_store_unavailable", QuotaStore).retry(SOON)
            }
            Self::NotAdmitted(NotAdmitted::Overloaded) => {
                line(StatusCode::SERVICE_UNAVAILABLE, "overloaded", Gateway).retry(SOON)
            }
            Self::NoRoute(NoRoute::Busy) => {
                line(StatusCode::SERVICE_UNAVAILABLE, "engine_busy", Engine).retry(SOON)
            }
            Self::Engine(EngineFault::Unreachable) => {
                line(StatusCode::BAD_GATEWAY, "engine_unreachable", Engine)
            }
            Self::Engine(EngineFault::TimedOut) => {
                line(StatusCode::GATEWAY_TIMEOUT, "engine_timeout", Engine)
            }
            Self::Engine(EngineFault::Broken) => line(StatusCode::BAD_GATEWAY, "engine_failed", Engine),
            Self::NotRecorded | Self::SpoolOutOfOrder => {
                line(StatusCode::SERVICE_UNAVAILABLE, "usage_not_recorded", Gateway).retry(SOON)
            }
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.line().status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.line().code
    }

    /// Whether the request had its ticket by then.
    pub(crate) fn is_after_admission(&self) -> bool {
        matches!(self, Self::NoRoute(_) | Self::Engine(_) | Self::NotRecorded)
    }

    pub(crate) fn blame(&self) -> Blame {
        self.line().blame
    }

    /// Whole seconds, rounded up: RFC 9110 section 10.2.3 has no fractions.
    pub(crate) fn retry_after(&self) -> Option<HeaderValue> {
        let wait = self.line().retry_after?;
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Some(HeaderValue::from(seconds.max(1)))
    }

    /// `WWW-Authenticate` (RFC 6750 section 3): a request without any credential gets no error code.
    pub(crate) fn challenge(&self) -> Option<HeaderValue> {
        let Self::Identity(fault) = self else { return None };
        if self.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        Some(HeaderValue::from_static(if *fault == IdentityFault::NoCredential {
            "Bearer realm=\"attach-gateway\""
        } else {
            "Bearer realm=\"attach-gateway\", error=\"invalid_token\", \
             error_description=\"The credential is not valid here\""
        }))
    }

    /// `Allow` (RFC 9110 section 15.5.6).
    pub(crate) fn allow(&self) -> Option<HeaderValue> {
        let Self::Route(RouteFault::Method(allowed)) = self else { return None };
        Some(HeaderValue::from_static(allowed))
    }

    /// How the limit stands that refused.
    pub(crate) fn standing(&self) -> Option<Standing> {
        let Self::NotAdmitted(NotAdmitted::Reached(reached)) = self else { return None };
        Some(Standing {
            limit: reached.limit.clone(),
            measure: reached.measure,
            amount: reached.amount,
            remaining: reached.amount.saturating_sub(reached.used.saturating_add(reached.reserved)),
            resets_in: reached.retry_after.unwrap_or(reached.window),
        })
    }

    /// For the caller: what is wrong and what to do.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Route(RouteFault::Unknown) => "There is no such route on this gateway.".to_owned(),
            Self::Route(RouteFault::Method(allowed)) => format!("This route takes {allowed}."),
            Self::Host => "The request needs exactly one Host header.".to_owned(),
            Self::Identity(fault) if fault.retry_after().is_some() => {
                "The keys of this token's issuer are not available at the moment; try again soon.".to_owned()
            }
            Self::Identity(IdentityFault::NoCredential) => {
                "No credential: send `Authorization: Bearer <access token or API key>`.".to_owned()
            }
            Self::Identity(_) => "The access token or API key is not valid here, or no longer.".to_owned(),
            Self::Body(BodyFault::TooLarge { limit }) => format!("The body is larger than {limit} bytes."),
            Self::Body(BodyFault::NoRoom) | Self::NotAdmitted(NotAdmitted::Overloaded) => {
                "The gateway has no room for this request at the moment; try again soon.".to_owned()
            }
            Self::Body(BodyFault::TooSlow) => "The body did not arrive in time.".to_owned(),
            Self::Body(BodyFault::Broken) => "The body broke off.".to_owned(),
            Self::Ask(fault) => fault.to_string(),
            Self::Forbidden(Forbidden::Permission(permission)) => {
                let name = match permission {
                    Permission::Inference => "inference",
                    Permission::Read => "read",
                };
                format!("You do not have the permission `{name}` here.")
            }
            Self::Forbidden(Forbidden::Model(model)) => format!("You may not use the model '{model}'."),
            Self::Forbidden(Forbidden::UnknownModel(model)) => format!("model '{model}' not found"),
            Self::NoRoute(NoRoute::NoUpstream) => "No engine here has this model.".to_owned(),
            Self::NotAdmitted(NotAdmitted::Reached(reached)) => reached_message(reached),
            Self::NotAdmitted(NotAdmitted::StoreUnavailable(_)) => {
                "Limits can't be checked at the moment, so nothing is served; try again soon.".to_owned()
            }
            Self::NoRoute(NoRoute::Busy) => {
                "All engines with this model are busy; try again soon.".to_owned()
            }
            Self::Engine(EngineFault::Unreachable) => "The engine can't be reached.".to_owned(),
            Self::Engine(EngineFault::TimedOut) => "The engine did not answer in time.".to_owned(),
            Self::Engine(EngineFault::Broken) => "The engine's answer broke off.".to_owned(),
            Self::SpoolOutOfOrder => {
                "Usage can't be recorded at the moment, so nothing is served; try again soon.".to_owned()
            }
            Self::NotRecorded => {
                "The usage of this answer could not be recorded, so it is held back; try again soon."
                    .to_owned()
            }
        }
    }

    /// For the operator: the check that failed, with its values. Never the credential, never the body.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Identity(fault) => format!("{}: {fault}", fault.code()),
            Self::NotAdmitted(NotAdmitted::Reached(reached)) => match reached.retry_after {
                Some(wait) => format!("{} It would fit in {} s.", self.message(), wait.as_secs_f64().ceil()),
                None => self.message(),
            },
            Self::NotAdmitted(NotAdmitted::StoreUnavailable(fault)) => fault.to_string(),
            Self::Route(_)
            | Self::Host
            | Self::Body(_)
            | Self::Ask(_)
            | Self::Forbidden(_)
            | Self::NotAdmitted(NotAdmitted::Overloaded)
            | Self::NoRoute(_)
            | Self::Engine(_)
            | Self::NotRecorded
            | Self::SpoolOutOfOrder => self.message(),
        }
    }

    /// The body, as an SDK of the caller's dialect expects an error.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &str) -> Vec<u8> {
        let message = self.message();
        let value = match dialect {
            Dialect::Ollama => json!({ "error": message }),
            Dialect::OpenAi => json!({
                "error": {
                    "message": message,
                    "type": self.openai_type(),
                    "param": null,
                    "code": self.code(),
                    "request_id": request_id,
                }
            }),
            Dialect::Anthropic => json!({
                "type": "error",
                "error": { "type": self.anthropic_type(), "message": message },
                "request_id": request_id,
            }),
        };
        value.to_string().into_bytes()
    }

    fn openai_type(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn anthropic_type(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }
}

fn reached_message(reached: &Reached) -> String {
    let measure = match reached.measure {
        Measure::Requests => "requests",
        Measure::InputTokens => "input tokens",
        Measure::OutputTokens => "output tokens",
        Measure::TotalTokens => "tokens",
    };
    if reached.retry_after.is_none() {
        return format!(
            "This request alone asks for more than limit '{}' ever allows: {} {measure} per {} s. Make the prompt \
             shorter, or ask for less output.",
            reached.limit,
            reached.amount,
            reached.window.as_secs(),
        );
    }
    format!(
        "Limit '{}' reached: {} {measure} per {} s; {} used, {} reserved by requests in progress.",
        reached.limit,
        reached.amount,
        reached.window.as_secs(),
        reached.used,
        reached.reserved,
    )
}

macro_rules! from_stage {
    ($($fault:ty => $variant:ident),* $(,)?) => {
        $(impl From<$fault> for Refusal {
            fn from(fault: $fault) -> Self {
                Self::$variant(fault)
            }
        })*
    };
}

from_stage! {
    RouteFault => Route,
    IdentityFault => Identity,
    BodyFault => Body,
    AskFault => Ask,
    Forbidden => Forbidden,
    NotAdmitted => NotAdmitted,
    NoRoute => NoRoute,
    EngineFault => Engine,
}
