//! A certificate chain with its key.

use crate::validity::Validity;
use jiff::Timestamp;
use rustls::{
    Error, InconsistentKeys,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};
use std::sync::Arc;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

/// What a handshake is answered with: the key belongs to the first certificate of the chain.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(crate) validity: Validity,
    /// Hosts that the certificate is for, as it writes them.
    pub(crate) names: Vec<String>,
}

/// Why a chain and a key are no pair.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairFault {
    #[error("is no certificate: {0}")]
    Certificate(String),
    #[error("is no private key that can be used: {0}")]
    Key(Error),
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

impl Pair {
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PairFault> {
        let leaf = chain.first().ok_or_else(|| PairFault::Certificate("there is none".to_owned()))?;
        let (validity, names) = read(leaf).map_err(PairFault::Certificate)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(PairFault::Key)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Self { certified: Arc::new(certified), validity, names }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(PairFault::Mismatch),
            Err(error) => Err(PairFault::Certificate(error.to_string())),
        }
    }

    /// Of one text in PEM that has the key and the chain.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, PairFault> {
        let unreadable = |error: pem::Error| PairFault::Certificate(error.to_string());
        let chain = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(unreadable)?;
        Self::new(chain, PrivateKeyDer::from_pem_slice(text).map_err(unreadable)?)
    }

    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.validity.not_after <= now
    }
}

/// From when until when, and for which hosts.
fn read(certificate: &CertificateDer<'_>) -> Result<(Validity, Vec<String>), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let moment = |seconds| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    let validity = Validity {
        not_before: moment(parsed.validity().not_before.timestamp())?,
        not_after: moment(parsed.validity().not_after.timestamp())?,
    };
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
    Ok((validity, names.filter_map(shown).collect()))
}

/// A name as people write it; `None` for kinds that nobody uses for what we serve.
pub(super) fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}
