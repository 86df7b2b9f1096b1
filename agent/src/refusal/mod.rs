//! Refusals: one closed enum, one table, one body per dialect.
//!
//! Two audiences: the caller is told what it can act on, in the words of this table; the operator gets the detail in
//! the log and by `attach-gateway explain`, under the same request id.

mod words;

use crate::{
    admit::{NotAdmitted, Standing},
    ask::{AskFault, BodyFault, RouteFault},
    authorize::Forbidden,
    forward::EngineFault,
    front::Fault,
    identify::IdentityFault,
    load::Overload,
    route::NoRoute,
};
use attach_proto::bundle::Algorithm;
use http::{HeaderValue, StatusCode};
use std::time::Duration;

/// Why a request is not served. Each stage has its own closed set of reasons.
#[derive(Debug)]
pub(crate) enum Refusal {
    Front(Fault),
    Overloaded(Overload),
    Route(RouteFault),
    Identity(IdentityFault),
    Body(BodyFault),
    /// A body that was on its way to the engine already.
    Upload(BodyFault),
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
            Self::Front(fault) => front_line(*fault),
            Self::Overloaded(Overload::Requests | Overload::Memory) => {
                line(StatusCode::SERVICE_UNAVAILABLE, "overloaded", Gateway).retry(SOON)
            }
            Self::Overloaded(Overload::Tenant) => {
                line(StatusCode::TOO_MANY_REQUESTS, "too_many_in_progress", Caller).retry(SOON)
            }
            Self::Overloaded(Overload::Engines) => {
                line(StatusCode::SERVICE_UNAVAILABLE, "engine_busy", Engine).retry(SOON)
            }
            Self::Route(RouteFault::Unknown) => line(StatusCode::NOT_FOUND, "unknown_route", Caller),
            Self::Route(RouteFault::Method(_)) => {
                line(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", Caller)
            }
            Self::Identity(fault) if fault.retry_after().is_some() => Line {
                retry_after: fault.retry_after(),
                ..line(StatusCode::SERVICE_UNAVAILABLE, "issuer_unavailable", Issuer)
            },
            Self::Identity(IdentityFault::NoCredential) => {
                line(StatusCode::UNAUTHORIZED, "missing_credential", Caller)
            }
            // RFC 6750 section 3.1: the token is good, for other things.
            Self::Identity(IdentityFault::MissingScope(_)) => {
                line(StatusCode::FORBIDDEN, "insufficient_scope", Caller)
            }
            Self::Identity(IdentityFault::NamedUser { .. } | IdentityFault::TwoNamedUsers) => {
                line(StatusCode::BAD_REQUEST, "invalid_end_user", Caller)
            }
            Self::Identity(_) => line(StatusCode::UNAUTHORIZED, "invalid_credential", Caller),
            Self::Body(BodyFault::TooLarge { .. }) | Self::Upload(BodyFault::TooLarge { .. }) => {
                line(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", Caller)
            }
            Self::Body(BodyFault::NoRoom) | Self::Upload(BodyFault::NoRoom) => {
                line(StatusCode::SERVICE_UNAVAILABLE, "overloaded", Gateway).retry(SOON)
            }
            Self::Body(BodyFault::TooSlow) | Self::Upload(BodyFault::TooSlow) => {
                line(StatusCode::REQUEST_TIMEOUT, "request_timeout", Caller)
            }
            Self::Body(BodyFault::Broken) | Self::Upload(BodyFault::Broken) => {
                line(StatusCode::BAD_REQUEST, "invalid_request", Caller)
            }
            Self::Ask(_) => line(StatusCode::BAD_REQUEST, "invalid_request", Caller),
            Self::Forbidden(Forbidden::Permission(_)) => {
                line(StatusCode::FORBIDDEN, "permission_denied", Caller)
            }
            Self::Forbidden(Forbidden::Model(_) | Forbidden::NoModel) => {
                line(StatusCode::FORBIDDEN, "model_not_allowed", Caller)
            }
            Self::Forbidden(Forbidden::UnknownModel(_)) | Self::NoRoute(NoRoute::NoUpstream) => {
                line(StatusCode::NOT_FOUND, "model_not_found", Caller)
            }
            Self::Forbidden(Forbidden::NoUpstream(_)) => {
                line(StatusCode::NOT_FOUND, "upstream_not_found", Caller)
            }
            Self::Forbidden(Forbidden::WhichUpstream) => {
                line(StatusCode::BAD_REQUEST, "upstream_required", Caller)
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
        matches!(self, Self::NoRoute(_) | Self::Engine(_) | Self::Upload(_) | Self::NotRecorded)
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
        if let IdentityFault::MissingScope(scope) = fault {
            // Not where the scope could end the quoted string.
            let is_plain = scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
            let named = if is_plain { format!(", scope=\"{scope}\"") } else { String::new() };
            let value = format!("Bearer realm=\"attach-gateway\", error=\"insufficient_scope\"{named}");
            return HeaderValue::try_from(value).ok();
        }
        if self.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        if let Some(error) = dpop_error(fault) {
            let algorithms = Algorithm::ALL.map(Algorithm::name).join(" ");
            let value = format!("DPoP realm=\"attach-gateway\", error=\"{error}\", algs=\"{algorithms}\"");
            return HeaderValue::try_from(value).ok();
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
        HeaderValue::try_from(&**allowed).ok()
    }

    /// `Accept-Encoding`, of requests (RFC 9110 section 15.5.16).
    pub(crate) fn accept_encoding(&self) -> Option<HeaderValue> {
        matches!(self, Self::Front(Fault::Encoding)).then_some(HeaderValue::from_static("identity"))
    }

    /// Whether nothing more is to come by this connection: whoever sent such a request, or whatever is in between, can't be
    /// trusted to know where the next one begins.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::Front(_))
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
}

/// What a caller that proves its key is told to mend (RFC 9449 section 7.1): the proof, or the token.
fn dpop_error(fault: &IdentityFault) -> Option<&'static str> {
    if matches!(fault, IdentityFault::DpopProof(_) | IdentityFault::ReplayedProof(_)) {
        Some("invalid_dpop_proof")
    } else if *fault == IdentityFault::NotBound {
        Some("invalid_token")
    } else {
        None
    }
}

/// The part of the table that is about HTTP itself.
fn front_line(fault: Fault) -> Line {
    let (status, code) = match fault {
        Fault::RequestLine
        | Fault::Target
        | Fault::LineEnd
        | Fault::Header
        | Fault::Framing
        | Fault::Chunk
        | Fault::Trailer
        | Fault::Spoofed
        | Fault::Disagreement => (StatusCode::BAD_REQUEST, "malformed_request"),
        Fault::Host => (StatusCode::BAD_REQUEST, "invalid_host"),
        Fault::Path => (StatusCode::BAD_REQUEST, "invalid_path"),
        Fault::Upgrade => (StatusCode::BAD_REQUEST, "upgrade_refused"),
        Fault::TargetTooLong => (StatusCode::URI_TOO_LONG, "uri_too_long"),
        Fault::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
        Fault::Expect => (StatusCode::EXPECTATION_FAILED, "expectation_failed"),
        Fault::HeadTooLarge | Fault::TooManyHeaders => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large")
        }
        Fault::Method => (StatusCode::NOT_IMPLEMENTED, "unsupported_method"),
        Fault::Version => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "unsupported_version"),
    };
    line(status, code, Blame::Caller)
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
    Fault => Front,
    Overload => Overloaded,
    RouteFault => Route,
    IdentityFault => Identity,
    BodyFault => Body,
    AskFault => Ask,
    Forbidden => Forbidden,
    NotAdmitted => NotAdmitted,
    NoRoute => NoRoute,
    EngineFault => Engine,
}
