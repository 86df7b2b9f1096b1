//! Whether a caller has what its token is bound to (RFC 7800): a key, by a proof that it signed for this request (RFC 9449),
//! or the client certificate of its connection (RFC 8705 section 3). Asked of each request, whatever was verified before.

use super::{
    claims::Claims,
    credential::{Credential, Scheme},
    fault::IdentityFault,
    principal::Principal,
    proof::check_proof,
    used::UsedProofs,
};
use crate::{clock::Clock, tls::ClientCertificate};
use attach_proto::bundle::{IdentityProvider, Proof};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::request::Parts;
use serde_json::Value;
use std::sync::Arc;

/// What a token is bound to; all that is named must be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// SHA-256 of the key, as RFC 7638 has it, in base64url: `cnf.jkt`.
    key: Option<String>,
    /// SHA-256 of the certificate: `cnf.x5t#S256`.
    certificate: Option<[u8; 32]>,
}

/// What the token says that it is bound to.
///
/// # Errors
/// To something whose proof this provider's configuration does not have checked.
pub(super) fn binding(
    claims: &Claims,
    provider: &IdentityProvider,
) -> Result<Option<Binding>, IdentityFault> {
    let Some(confirmation) = claims.get("cnf") else {
        // Keycloak says so by the claim `typ` too.
        let says_bound = claims.text("typ").is_some_and(|typ| typ.eq_ignore_ascii_case("DPoP"));
        return if says_bound { Err(IdentityFault::ConfirmationUnproven) } else { Ok(None) };
    };
    let checks = |proof| provider.proofs.contains(&proof);
    let key = match confirmation.get("jkt") {
        None => None,
        Some(Value::String(thumbprint)) if checks(Proof::Dpop) => Some(thumbprint.clone()),
        Some(_) => return Err(IdentityFault::ConfirmationUnproven),
    };
    let certificate = match confirmation.get("x5t#S256") {
        None => None,
        Some(Value::String(text)) if checks(Proof::Certificate) => {
            let hash = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            Some(hash.ok_or(IdentityFault::ConfirmationUnproven)?)
        }
        Some(_) => return Err(IdentityFault::ConfirmationUnproven),
    };
    if key.is_none() && certificate.is_none() {
        return Err(IdentityFault::ConfirmationUnproven);
    }
    Ok(Some(Binding { key, certificate }))
}

impl Binding {
    /// What each request must show, in words.
    pub(super) fn demand(&self) -> &'static str {
        match (&self.key, &self.certificate) {
            (Some(_), None) => {
                "it is bound to a key: each request must bring a DPoP proof, which is checked then"
            }
            (None, _) => "it is bound to a client certificate, which each connection must show",
            (Some(_), Some(_)) => {
                "it is bound to a key and a client certificate: each request must bring a DPoP proof, and its connection \
                 show the certificate"
            }
        }
    }

    pub(super) fn is_to_key(&self) -> bool {
        self.key.is_some()
    }
}

/// # Errors
/// Not what the token is bound to, or a proof where there is nothing to prove: a token that is bound to no key, sent as if
/// it were, is a mistake or a downgrade (RFC 9449 section 7.1).
pub(super) fn check(
    principal: &Principal,
    credential: &Credential<'_>,
    head: &Parts,
    ends_tls: bool,
    used: &UsedProofs,
    clock: &Clock,
) -> Result<(), IdentityFault> {
    let key = principal.bound_to.as_ref().and_then(|binding| binding.key.as_deref());
    match (key, credential.scheme) {
        (None, Scheme::Dpop) => return Err(IdentityFault::NotBound),
        (None, Scheme::Bearer | Scheme::Basic | Scheme::Key) => {}
        (Some(key), Scheme::Dpop) => {
            check_proof(key, &credential.bytes, head, ends_tls, &principal.tenant, used, clock.now())?;
        }
        // Section 7.2: a bearer of such a token is anybody.
        (Some(_), Scheme::Bearer | Scheme::Basic | Scheme::Key) => {
            return Err(IdentityFault::DpopProof("is missing: the token came as if it were no one's"));
        }
    }
    let Some(hash) = principal.bound_to.as_ref().and_then(|binding| binding.certificate) else {
        return Ok(());
    };
    match head.extensions.get::<Arc<ClientCertificate>>() {
        None => Err(IdentityFault::CertificateNotPresented),
        Some(certificate) if certificate.sha256 == hash => Ok(()),
        Some(_) => Err(IdentityFault::OtherCertificate),
    }
}
