//! Certificates of a public authority by ACME (RFC 8555).
//!
//! The library speaks the protocol; what stands here is around it: an account and a certificate that are kept on disk, an
//! HTTP client with our limits, answers for the authority's look at us, and patience with nonces that it refuses. When
//! to ask, and when to ask again, is `renewal`'s matter.

mod account;
mod challenges;
mod client;
mod http_01;
mod order;

pub(super) use challenges::Challenges;
pub(super) use http_01::Http01;

use super::{pair::Pair, renewal::Failure};
use crate::whole_file;
use account::AccountFile;
use aws_lc_rs::digest::{SHA256, digest};
use client::AcmeClient;
use order::OrderFault;
use rustls::ClientConfig;
use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What every public authority allows in one certificate (Let's Encrypt: 100).
pub(crate) const MAX_DOMAINS: usize = 100;

/// Public authorities look within seconds, and from several places; a hundred names take them a minute.
const ORDER_TIME: Duration = Duration::from_secs(300);

/// A key, and a chain for a hundred names.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcmeSettings {
    /// The authority's directory, an https URL.
    pub(crate) directory: String,
    pub(crate) domains: Vec<String>,
    /// Where the authority may write to before something ends.
    pub(crate) email: Option<String>,
    pub(crate) challenge: AcmeChallenge,
    /// In PEM, for a directory that no public authority vouches for.
    pub(crate) root: Option<PathBuf>,
    /// Where callers connect, for the advice when the authority cannot.
    pub(crate) port: u16,
}

/// How we show that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcmeChallenge {
    /// By a handshake on port 443 of the name (RFC 8737), which has to lead to the callers' port.
    TlsAlpn01,
    /// By a file on port 80 of the name (RFC 8555 section 8.3), which has to lead to this address.
    Http01(SocketAddr),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    #[error(
        "--acme-ca-root {}: {problem}; put the certificate of the directory's authority there, in PEM",
        .path.display()
    )]
    Root { path: PathBuf, problem: String },
    #[error(
        "--acme-http-port: can't listen on {address}: {cause}; choose another port and lead port 80 of the names \
         to it, or let this program take it (CAP_NET_BIND_SERVICE)"
    )]
    Listen { address: SocketAddr, cause: io::Error },
}

/// Orders certificates of one authority, for one set of names.
pub(super) struct Acme {
    settings: AcmeSettings,
    account: AccountFile,
    certificate: PathBuf,
    challenges: Challenges,
    tls: Arc<ClientConfig>,
}

impl Acme {
    /// `state`: the state folder. What one authority gave does not count at another, so each directory has its own folder.
    pub(super) fn new(
        settings: AcmeSettings,
        state: &Path,
        challenges: Challenges,
    ) -> Result<Self, AcmeError> {
        let hash = digest(&SHA256, settings.directory.as_bytes());
        let name: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let folder = state.join("acme").join(name);
        let tls = client::tls(settings.root.as_deref())?;
        let account = AccountFile(folder.join("account.json"));
        Ok(Self { account, certificate: folder.join("certificate.pem"), settings, challenges, tls })
    }

    /// The certificate from before, and whether it is for all the names that are asked for now. What is damaged counts for
    /// nothing: the authority gives another.
    pub(super) fn kept(&self) -> Option<(Pair, bool)> {
        let bytes = whole_file::read(&self.certificate, MAX_FILE_BYTES).map_err(|error| error.to_string());
        let pair = bytes.and_then(|bytes| {
            let pair = bytes.map(|bytes| Pair::from_pem(&bytes).map_err(|fault| fault.to_string()));
            pair.transpose()
        });
        let unusable = |problem: &String| {
            tracing::error!("{}: {problem}; another certificate is ordered", self.certificate.display());
        };
        let (pair, domains) = (pair.inspect_err(unusable).ok().flatten()?, &self.settings.domains);
        let is_for = |domain: &String| pair.names.iter().any(|name| name.eq_ignore_ascii_case(domain));
        let is_for_all = domains.iter().all(is_for);
        Some((pair, is_for_all))
    }

    /// One order, from the first request to the certificate on disk.
    pub(super) async fn obtain(&self) -> Result<Pair, Failure> {
        let obtained = tokio::time::timeout(ORDER_TIME, self.order()).await;
        // Whatever became of it: nothing is to be answered any more.
        self.challenges.clear();
        let directory = &self.settings.directory;
        match obtained {
            Ok(Ok(pair)) => Ok(pair),
            Ok(Err(fault)) => {
                Err(Failure { is_refusal: fault.is_refusal(), problem: format!("{directory}: {fault}") })
            }
            Err(_) => {
                let problem = format!("{directory}: the order did not come to an end within {ORDER_TIME:?}");
                Err(Failure { problem, is_refusal: false })
            }
        }
    }

    async fn order(&self) -> Result<Pair, OrderFault> {
        let client = || AcmeClient::new(Arc::clone(&self.tls));
        let account = self.account.open(client, &self.settings).await?;
        let made = order::complete(&account, &self.settings, &self.challenges).await;
        if made.as_ref().is_err_and(OrderFault::is_of_unknown_account) {
            // The authority has forgotten us. The next try asks for another account.
            self.account.forget()?;
        }
        let (pair, text) = made?;
        let path = self.certificate.clone();
        let stored = tokio::task::spawn_blocking(move || whole_file::replace(&path, text.as_bytes())).await;
        // Not in force before it is kept: authorities give only so many in a week.
        let stored = stored.map_err(io::Error::other).and_then(|stored| stored);
        stored.map_err(|cause| OrderFault::Disk { path: self.certificate.clone(), cause })?;
        Ok(pair)
    }
}

impl fmt::Display for AcmeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a certificate of {} for {}", self.directory, self.domains.join(", "))
    }
}
