//! TLS on the callers' port, from certificate files.

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// How long a caller may take for the handshake: two round trips of a bad mobile link, many times over.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where certificate chain and key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{}: no certificate in PEM can be read: {cause}", .path.display())]
    Certificate { path: PathBuf, cause: rustls::pki_types::pem::Error },
    #[error("{}: has no certificate", .path.display())]
    NoCertificate { path: PathBuf },
    #[error("{}: no private key in PEM can be read: {cause}", .path.display())]
    Key { path: PathBuf, cause: rustls::pki_types::pem::Error },
    #[error("{} and {}: {cause}", .files.certificate.display(), .files.key.display())]
    Mismatch { files: TlsFiles, cause: rustls::Error },
}

impl TlsFiles {
    /// Reads both, for TLS 1.2 and 1.3 with HTTP/1.1.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|cause| TlsError::Key { path: self.key.clone(), cause })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mismatch = |cause| TlsError::Mismatch { files: self.clone(), cause };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(mismatch)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// All certificates of a file in PEM, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |cause| TlsError::Certificate { path: path.to_owned(), cause };
    let chain = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}
