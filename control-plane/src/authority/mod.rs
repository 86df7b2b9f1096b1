//! The control plane's own authority: it signs the certificates of agents and of the control plane towards them, and no
//! other. Beside it, the key that signs bundles.

mod bundle_signer;
mod load;

pub(crate) use bundle_signer::BundleSigner;
pub(crate) use load::{LoadError, load_or_make};

use attach_proto::enrolment::{AgentName, CONTROL_PLANE_NAME};
use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{fmt, time::Duration};

/// Agents that were revoked are refused at each call, so this bounds what a stolen key is good for where nobody noticed.
const AGENT_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// Made anew at each start, and after a third of this while running.
pub(crate) const OWN_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Longer than any host is expected to run without being set up again.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Clocks of hosts may be behind by this much.
const BACKDATED: SignedDuration = SignedDuration::from_mins(10);

/// Who signs certificates.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
}

/// A certificate for an agent.
#[derive(Debug)]
pub(crate) struct AgentCertificate {
    /// X.509, DER.
    pub(crate) der: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// The caller's fault.
    #[error("is no certificate request (PKCS #10) that is signed by its own key")]
    Request,
    #[error("the certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Authority {
    /// A new authority, and its private key as PKCS #8.
    pub(crate) fn make(now: Timestamp) -> Result<(Self, Vec<u8>), rcgen::Error> {
        let key = KeyPair::generate()?;
        let pkcs8 = key.serialize_der();
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Attach Gateway control plane");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let not_after = period(&mut params, now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key)?.der().clone();
        Ok((Self { issuer: Issuer::new(params, key), certificate, not_after }, pkcs8))
    }

    /// One that was made before.
    pub(crate) fn restore(
        certificate: Vec<u8>,
        pkcs8: &[u8],
        not_after: Timestamp,
    ) -> Result<Self, rcgen::Error> {
        let key = KeyPair::try_from(pkcs8)?;
        let certificate = CertificateDer::from(certificate);
        Ok(Self { issuer: Issuer::from_ca_cert_der(&certificate, key)?, certificate, not_after })
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// What a join token pins.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.certificate).as_ref());
        hash
    }

    /// Signs an agent's key. Of the request only the key counts; who it is, the caller has found out.
    pub(crate) fn for_agent(
        &self,
        request: &[u8],
        agent: &AgentName,
        now: Timestamp,
    ) -> Result<AgentCertificate, IssueError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|_| IssueError::Request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(agent.agent.as_str());
        params.subject_alt_names = vec![SanType::URI(agent.to_uri().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = period(&mut params, now, AGENT_LIFE);
        let der = params.signed_by(&request.public_key, &self.issuer)?.der().to_vec();
        Ok(AgentCertificate { der, not_before: now, not_after })
    }

    /// The control plane's own chain towards agents, with a new key.
    pub(crate) fn for_control_plane(
        &self,
        now: Timestamp,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([CONTROL_PLANE_NAME.to_owned()])?;
        params.distinguished_name = name(CONTROL_PLANE_NAME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        period(&mut params, now, OWN_LIFE);
        let leaf = params.signed_by(&key, &self.issuer)?.der().clone();
        // The authority's certificate too, although it is the root: a gateway that joins knows only its hash.
        let chain = vec![leaf, self.certificate.clone()];
        Ok((chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Sets from when to when, and says the latter.
fn period(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) -> Timestamp {
    let (not_before, not_after) = (now - BACKDATED, now + life);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = |at: Timestamp| Duration::from_secs(at.as_second().unsigned_abs());
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
    not_after
}

#[cfg(test)]
mod tests;
