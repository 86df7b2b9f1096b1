//! Certificates of agents that have ended: a gateway that lost its control plane for days can still renew, and nothing else.
//!
//! Without this the end of a long outage would be that each host must join again by hand. Who was revoked is refused by
//! `Renew` itself.

use super::peer::Peer;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::{sync::Arc, time::Duration};

/// How long after its end a certificate still renews. Longer than an outage that nobody mends.
pub(super) const LATEST: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Takes a certificate that has ended not too long ago as it was at its end.
#[derive(Debug)]
pub(super) struct Lenient(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(certificate, intermediates, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => match end_of(certificate, now) {
                Some(end) => self.0.verify_client_cert(certificate, intermediates, end),
                None => verified,
            },
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The last moment of an agent's certificate, if that is not too long ago.
fn end_of(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<UnixTime> {
    let not_after = Peer::of(certificate)?.not_after;
    let now = Timestamp::from_second(i64::try_from(now.as_secs()).ok()?).ok()?;
    (now.duration_since(not_after) <= LATEST)
        .then(|| UnixTime::since_unix_epoch(Duration::from_secs(not_after.as_second().unsigned_abs())))
}
