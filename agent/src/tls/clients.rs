//! Certificates of callers: who vouches for them, and what they prove.

use super::{files::certificates, pair::shown};
use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What is asked of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// In PEM, the authorities that vouch for callers.
    pub(crate) authority: PathBuf,
    /// Who presents none gets no connection.
    pub(crate) is_required: bool,
}

/// Who vouches for callers.
#[derive(Debug, Clone)]
pub(super) struct ClientAuthority(Arc<dyn ClientCertVerifier>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientsFault {
    #[error("--tls-client-ca {}: no certificate in PEM can be read: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: pem::Error },
    #[error("--tls-client-ca {}: {problem}; put the authority's own certificate there", .path.display())]
    Unusable { path: PathBuf, problem: String },
}

impl ClientSettings {
    pub(super) fn load(&self) -> Result<ClientAuthority, ClientsFault> {
        let path = || self.authority.clone();
        let unusable = |problem: String| ClientsFault::Unusable { path: path(), problem };
        let roots =
            roots(&self.authority).map_err(|cause| ClientsFault::Unreadable { path: path(), cause })?;
        let roots = roots.map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if self.is_required { verifier } else { verifier.allow_unauthenticated() };
        Ok(ClientAuthority(verifier.build().map_err(|error| unusable(error.to_string()))?))
    }
}

/// The outer error is about the file, the inner one about what is in it.
fn roots(path: &Path) -> Result<Result<RootCertStore, rustls::Error>, pem::Error> {
    let mut roots = RootCertStore::empty();
    let added = certificates(path)?.into_iter().try_for_each(|certificate| roots.add(certificate));
    Ok(added.map(|()| roots))
}

impl ClientAuthority {
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0)
    }
}

/// The certificate that a caller's connection was opened with: its chain leads to an authority of `--tls-client-ca`, it
/// was in force, and the caller has its key. Requests of such a connection carry an `Arc` of it as an extension.
///
/// It is evidence, and no identity by itself: what it is good for, the identity provider or key that it is bound to
/// says (RFC 8705 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// Of the certificate's DER: in base64url it is what a token has in `cnf.x5t#S256`.
    pub(crate) sha256: [u8; 32],
    /// RFC 4514, as in `CN=build, O=Example`. Empty for those that have only alternative names.
    pub(crate) subject: String,
    /// DNS names, e-mail and IP addresses and URIs (SPIFFE ids among them), in the certificate's order.
    pub(crate) sans: Vec<String>,
}

impl ClientCertificate {
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok()?;
        let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
        Some(Self {
            sha256: digest(&SHA256, certificate).as_ref().try_into().ok()?,
            subject: parsed.subject().to_string(),
            sans: names.filter_map(shown).collect(),
        })
    }
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.sha256 {
            write!(f, "{byte:02x}")?;
        }
        write!(f, " ({}; {})", self.subject, self.sans.join(", "))
    }
}
