//! Why the control plane refused a call.

use attach_proto::enrolment::reason;
use tonic::Status;
use tonic_types::StatusExt as _;

/// Longest part of a foreign message that is passed on to a log or a page.
const MAX_SAID: usize = 500;

/// The reason that the contract names (`attach_proto::enrolment::reason`), and the metadata `expected_seq` that goes with
/// one of them. `None` for any other failure: those pass by themselves.
pub(crate) fn reason(status: &Status) -> Option<(String, Option<u64>)> {
    let info = status.get_details_error_info().filter(|info| info.domain == reason::DOMAIN)?;
    let expected_seq = info.metadata.get(reason::EXPECTED_SEQ).and_then(|text| text.parse().ok());
    Some((info.reason, expected_seq))
}

/// Whether this gateway may serve no longer.
pub(crate) fn is_revoked(status: &Status) -> bool {
    reason(status).is_some_and(|(reason, _)| reason == reason::AGENT_REVOKED)
}

/// A failure in words, in one line: a message of the other end's own choosing stays within bounds.
pub(crate) fn said(status: &Status) -> String {
    let message: String =
        status.message().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SAID).collect();
    let code = status.code();
    if message.is_empty() { format!("{code:?}") } else { format!("{message} ({code:?})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic::Code;
    use tonic_types::ErrorDetails;

    fn refusal(domain: &str, reason: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let details = ErrorDetails::with_error_info(reason, domain, metadata);
        Status::with_error_details(Code::FailedPrecondition, "no", details)
    }

    #[test]
    fn a_reason_counts_only_under_the_contract_s_domain() {
        let gap = refusal("attach", "USAGE_GAP", &[("expected_seq", "7")]);
        assert_eq!(super::reason(&gap), Some(("USAGE_GAP".to_owned(), Some(7))));
        let odd = refusal("attach", "USAGE_GAP", &[("expected_seq", "-7")]);
        assert_eq!(super::reason(&odd), Some(("USAGE_GAP".to_owned(), None)));
        assert!(is_revoked(&refusal("attach", "AGENT_REVOKED", &[])));
        assert!(!is_revoked(&refusal("proxy.example", "AGENT_REVOKED", &[])));
        assert!(!is_revoked(&Status::permission_denied("AGENT_REVOKED")));
    }

    #[test]
    fn what_the_other_end_says_stays_one_line_of_bounded_length() {
        let long = Status::unavailable("a\nb".repeat(1_000));
        let said = said(&long);
        assert!(said.len() < 600 && !said.contains('\n') && said.ends_with("(Unavailable)"), "{said}");
    }
}
