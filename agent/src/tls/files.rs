//! The certificate and the key as files of the operator's.

use super::pair::{Pair, PairFault};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where certificate chain and key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesFault {
    #[error(
        "{}: no certificate in PEM can be read: {cause}; put the chain there, the server's certificate first",
        .path.display()
    )]
    Certificate { path: PathBuf, cause: pem::Error },
    #[error("{}: no private key in PEM can be read: {cause}", .path.display())]
    Key { path: PathBuf, cause: pem::Error },
    #[error("{}: {fault}", .path.display())]
    Unusable { path: PathBuf, fault: PairFault },
    #[error("{files}: the key does not belong to the certificate; put the two of one issuance there")]
    Mismatch { files: TlsFiles },
}

impl TlsFiles {
    pub(super) fn load(&self) -> Result<Pair, FilesFault> {
        let chain = certificates(&self.certificate)
            .map_err(|cause| FilesFault::Certificate { path: self.certificate.clone(), cause })?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|cause| FilesFault::Key { path: self.key.clone(), cause })?;
        Pair::new(chain, key).map_err(|fault| match fault {
            PairFault::Mismatch => FilesFault::Mismatch { files: self.clone() },
            PairFault::Certificate(_) => FilesFault::Unusable { path: self.certificate.clone(), fault },
            PairFault::Key(_) => FilesFault::Unusable { path: self.key.clone(), fault },
        })
    }
}

impl fmt::Display for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.certificate.display(), self.key.display())
    }
}

/// All certificates of a file: at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}
