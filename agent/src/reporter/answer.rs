//! What the control plane's answer to a batch means for the spool.

use crate::{
    control_plane::{reason, said},
    usage::Batch,
};
use attach_proto::{
    enrolment::reason::{USAGE_CHANGED, USAGE_FOREIGN_SPOOL, USAGE_GAP},
    v1::UsageAck,
};
use tonic::Status;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All events up to this number are committed; go on behind it.
    Acknowledged(u64),
    /// The control plane lacks earlier ones: go on behind this number.
    Back(u64),
    /// Try the same again later.
    Later(String),
    /// The spool is not taken, and will not be.
    Refused(String),
}

/// The answer to a batch of a spool that ends at `last_seq`.
pub(super) fn answer(batch: &Batch, last_seq: u64, result: Result<UsageAck, &Status>) -> Answer {
    match result {
        // A control plane that took nothing and says it took no offence is asked again, not at once.
        Ok(ack) if ack.acknowledged_seq < batch.first_seq => {
            Answer::Later(format!("only event {} is acknowledged", ack.acknowledged_seq))
        }
        Ok(ack) => Answer::Acknowledged(ack.acknowledged_seq.min(last_seq)),
        Err(status) => match reason(status) {
            Some((reason, Some(expected))) if reason == USAGE_GAP && is_before(expected, batch) => {
                Answer::Back(expected - 1)
            }
            Some((reason, _)) if reason == USAGE_CHANGED || reason == USAGE_FOREIGN_SPOOL => {
                Answer::Refused(said(status))
            }
            Some(_) | None => Answer::Later(said(status)),
        },
    }
}

/// Numbers begin with 1, and what a gap lacks stands before what was sent.
fn is_before(expected: u64, batch: &Batch) -> bool {
    (1..batch.first_seq).contains(&expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::enrolment::reason;
    use bytes::Bytes;
    use std::collections::HashMap;
    use tonic::Code;
    use tonic_types::{ErrorDetails, StatusExt as _};
    use uuid::Uuid;

    fn batch() -> Batch {
        Batch { spool: Uuid::nil(), first_seq: 11, events: vec![Bytes::from_static(b"e"); 5] }
    }

    fn refused(reason: &str, expected: Option<&str>) -> Answer {
        let metadata: HashMap<String, String> =
            expected.map(|seq| (reason::EXPECTED_SEQ.to_owned(), seq.to_owned())).into_iter().collect();
        let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, metadata);
        let status = Status::with_error_details(Code::FailedPrecondition, "no", details);
        answer(&batch(), 20, Err(&status))
    }

    fn acknowledged(seq: u64) -> Answer {
        answer(&batch(), 20, Ok(UsageAck { acknowledged_seq: seq }))
    }

    #[test]
    fn what_is_acknowledged_is_done_with_in_whole_or_in_part() {
        assert_eq!(acknowledged(15), Answer::Acknowledged(15));
        assert_eq!(acknowledged(12), Answer::Acknowledged(12));
        assert_eq!(acknowledged(u64::MAX), Answer::Acknowledged(20), "never beyond what there is");
        assert!(matches!(acknowledged(10), Answer::Later(_)), "no progress must not become a hot loop");
    }

    #[test]
    fn a_gap_goes_back_only_to_what_stands_before() {
        assert_eq!(refused("USAGE_GAP", Some("4")), Answer::Back(3));
        assert_eq!(refused("USAGE_GAP", Some("1")), Answer::Back(0));
        for odd in [Some("0"), Some("11"), Some("99"), Some("x"), None] {
            assert!(matches!(refused("USAGE_GAP", odd), Answer::Later(_)), "{odd:?}");
        }
    }

    #[test]
    fn a_spool_that_is_not_taken_is_stopped_and_anything_else_is_tried_again() {
        assert!(matches!(refused("USAGE_CHANGED", None), Answer::Refused(_)));
        assert!(matches!(refused("USAGE_FOREIGN_SPOOL", None), Answer::Refused(_)));
        assert!(matches!(refused("AGENT_REVOKED", None), Answer::Later(_)));
        let away = Status::unavailable("the database is away");
        assert!(matches!(answer(&batch(), 20, Err(&away)), Answer::Later(_)));
    }
}
