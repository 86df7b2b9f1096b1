//! Why a call is refused, as gRPC says it: a status, and where a program must know more, an `ErrorInfo` (AIP-193).

use crate::{
    db::{DbError, agents::Standing},
    ops::{JoinError, OpError, RenewError, TakeError},
};
use attach_proto::enrolment::reason;
use jiff::Timestamp;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub(super) fn no_certificate() -> Status {
    Status::unauthenticated("this call needs the agent's client certificate; join first")
}

pub(super) fn certificate_has_ended(at: Timestamp) -> Status {
    Status::unauthenticated(format!(
        "the agent's certificate ended at {at}; it is good for nothing but its renewal"
    ))
}

pub(super) fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

pub(super) fn revoked() -> Status {
    with_reason(Code::PermissionDenied, "the agent was revoked", reason::AGENT_REVOKED, HashMap::new())
}

fn unknown() -> Status {
    let message = "this control plane's database does not know the agent; if it was restored from a backup, the agent has to \
                   join again (move its enrolment away first), and serves what it has until then";
    with_reason(Code::NotFound, message, reason::AGENT_UNKNOWN, HashMap::new())
}

/// An error when the agent is not to be heard.
pub(super) fn unless_good(standing: Standing) -> Result<(), Status> {
    match standing {
        Standing::Good => Ok(()),
        Standing::Revoked => Err(revoked()),
        Standing::Unknown => Err(unknown()),
    }
}

/// Agents are told that it is for a while, and people read the log.
pub(super) fn db(error: &DbError) -> Status {
    match error {
        DbError::Unavailable(source) => {
            tracing::warn!(error = %source, "the database is not available");
            Status::unavailable("the control plane's database is not available")
        }
        DbError::Conflict { .. } | DbError::Full(_) | DbError::Value(_) | DbError::Statement(_) => {
            tracing::error!(error = ?error, "the database refused a call of an agent");
            Status::internal("the control plane's database refused it; its log says why")
        }
    }
}

fn op(error: &OpError) -> Status {
    match error {
        OpError::Db(error) => db(error),
        OpError::NotFound(_)
        | OpError::Invalid { .. }
        | OpError::Contract(_)
        | OpError::Exists(_)
        | OpError::NoRandomness(_)
        | OpError::Seal(_) => Status::internal(error.to_string()),
    }
}

pub(super) fn join(error: &JoinError) -> Status {
    match error {
        JoinError::Op(error) => op(error),
        JoinError::Issue(_) | JoinError::Host => invalid(error.to_string()),
        JoinError::Form(_)
        | JoinError::OtherControlPlane
        | JoinError::Unknown
        | JoinError::Used
        | JoinError::Expired
        | JoinError::Revoked => with_reason(
            Code::PermissionDenied,
            &error.to_string(),
            reason::JOIN_TOKEN_REFUSED,
            HashMap::new(),
        ),
    }
}

pub(super) fn renew(error: &RenewError) -> Status {
    match error {
        RenewError::Op(error) => op(error),
        RenewError::Issue(_) => invalid(error.to_string()),
        RenewError::Revoked => revoked(),
        RenewError::Unknown => unknown(),
    }
}

pub(super) fn take(error: &TakeError) -> Status {
    let message = error.to_string();
    match error {
        TakeError::Db(error) => db(error),
        TakeError::Revoked => revoked(),
        TakeError::Unknown => unknown(),
        TakeError::Invalid { .. } => invalid(message),
        TakeError::Gap { expected } => with_reason(
            Code::FailedPrecondition,
            &message,
            reason::USAGE_GAP,
            HashMap::from([(reason::EXPECTED_SEQ.to_owned(), expected.to_string())]),
        ),
        TakeError::ForeignSpool => {
            with_reason(Code::PermissionDenied, &message, reason::USAGE_FOREIGN_SPOOL, HashMap::new())
        }
        TakeError::Changed { .. } => {
            with_reason(Code::FailedPrecondition, &message, reason::USAGE_CHANGED, HashMap::new())
        }
    }
}

fn with_reason(code: Code, message: &str, reason: &str, metadata: HashMap<String, String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}
