//! Where the next certificate comes from.

use super::{
    TlsError, TlsOrigin,
    acceptor::Acceptor,
    acme::{Acme, AcmeChallenge, Http01},
    authority::{Issued, SelfSigned},
    files::TlsFiles,
    pair::Pair,
    renewal::Issuer,
    trust,
};
use crate::{validity::Validity, watched::Watched};
use jiff::Timestamp;
use std::path::Path;

pub(super) enum Source {
    Files {
        files: TlsFiles,
        watched: Watched,
    },
    Issuer {
        issuer: Issuer,
        /// Of the certificate that is held; `None` where another is to be had at once.
        held: Option<Validity>,
        http_01: Option<Http01>,
    },
}

impl Source {
    /// With what there is to serve already.
    pub(super) fn open(
        origin: &TlsOrigin,
        state: &Path,
        acceptor: &Acceptor,
        now: Timestamp,
    ) -> Result<(Self, Option<Pair>), TlsError> {
        match origin {
            TlsOrigin::Files(files) => {
                let watched = Watched::new(vec![files.certificate.clone(), files.key.clone()]);
                let pair = files.load()?;
                Ok((Self::Files { files: files.clone(), watched }, Some(pair)))
            }
            TlsOrigin::SelfSigned { names } => {
                let own = SelfSigned { folder: state.join("tls"), names: names.clone() };
                let Issued { pair, new_authority } = own.issue(now)?;
                new_authority.iter().for_each(trust::explain);
                let held = Some(pair.validity);
                Ok((Self::Issuer { issuer: Issuer::Own(own), held, http_01: None }, Some(pair)))
            }
            TlsOrigin::Acme(settings) => {
                let challenges = acceptor.challenges();
                let http_01 = match settings.challenge {
                    AcmeChallenge::Http01(address) => Some(Http01::bind(address, challenges.clone())?),
                    AcmeChallenge::TlsAlpn01 => None,
                };
                let acme = Acme::new(settings.clone(), state, challenges)?;
                let kept = acme.kept();
                // One for other names serves on until there is one for all.
                let held = kept.as_ref().and_then(|(pair, is_for_all)| is_for_all.then_some(pair.validity));
                let issuer = Issuer::Acme(Box::new(acme));
                Ok((Self::Issuer { issuer, held, http_01 }, kept.map(|(pair, _)| pair)))
            }
        }
    }
}
