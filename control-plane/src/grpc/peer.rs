//! Who is at the other end of a connection.

use super::refusal;
use crate::clock::Clock;
use attach_proto::enrolment::AgentName;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tonic::{Request, Status};
use x509_parser::extensions::GeneralName;

/// The agent of a certificate that the authority has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: AgentName,
    /// When its certificate ends, and with it the connection.
    pub(super) not_after: Timestamp,
}

impl Peer {
    /// `None` when it names no agent; none that the authority signed does so.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let uri =
            names.value.general_names.iter().find_map(|name| {
                if let GeneralName::URI(uri) = name { AgentName::from_uri(uri) } else { None }
            });
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
        Some(Self { name: uri?, not_after })
    }
}

/// The agent that makes a call.
pub(super) fn agent<T>(request: &Request<T>, clock: &Clock) -> Result<AgentName, Status> {
    let peer = request.extensions().get::<Peer>().ok_or_else(refusal::no_certificate)?;
    if peer.not_after < clock.now() {
        return Err(refusal::certificate_has_ended(peer.not_after));
    }
    Ok(peer.name.clone())
}

/// The agent that makes a call, also if its certificate has ended a while ago.
pub(super) fn late_agent<T>(request: &Request<T>) -> Result<AgentName, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| peer.name.clone()).ok_or_else(refusal::no_certificate)
}
