//! TLS on the callers' port: where its certificate comes from, how it is kept good, and what callers' own certificates
//! prove.
//!
//! [`Tls::open`] finds a certificate or says what is wrong; [`Keeper::run`] then keeps it good for as long as the gateway
//! runs. Rules of this edge: a change acts on the next handshake and drops no connection; what is not whole and fitting
//! changes nothing, and is told once.

mod acceptor;
mod acme;
mod authority;
mod clients;
mod files;
mod keeper;
mod pair;
mod renewal;
mod source;
mod standing;
mod trust;

pub(crate) use acceptor::{Acceptor, Secured};
pub(crate) use acme::{AcmeChallenge, AcmeSettings, MAX_DOMAINS};
pub(crate) use clients::{ClientCertificate, ClientSettings};
pub(crate) use files::TlsFiles;
pub(crate) use keeper::Keeper;
pub(crate) use standing::{TlsStanding, TlsState};

use crate::{clock::Clock, watched::Watched};
use acme::AcmeError;
use authority::AuthorityFault;
use clients::ClientsFault;
use files::FilesFault;
use source::Source;
use std::{fmt, path::Path, sync::Arc};

/// What is spoken behind the handshake, the best first.
const ALPN: &[&[u8]] = &[HTTP2, b"http/1.1"];

/// What a caller asks for in the handshake to speak HTTP/2 (RFC 9113 section 3.2). There is no other way to it.
pub(crate) const HTTP2: &[u8] = b"h2";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) origin: TlsOrigin,
    /// `None`: callers' certificates are not asked for.
    pub(crate) clients: Option<ClientSettings>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsOrigin {
    Files(TlsFiles),
    /// An authority of its own signs it, for these host names and addresses.
    SelfSigned {
        names: Vec<String>,
    },
    Acme(AcmeSettings),
}

/// Why there can be no TLS at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Files(#[from] FilesFault),
    #[error(transparent)]
    Clients(#[from] ClientsFault),
    #[error("--tls self-signed: {0}")]
    Authority(#[from] AuthorityFault),
    #[error(transparent)]
    Acme(#[from] AcmeError),
    #[error("TLS: {0}")]
    Config(#[from] rustls::Error),
}

/// The listener's half, what is known of it, and who keeps it good.
pub(crate) struct Tls {
    pub(crate) acceptor: Acceptor,
    pub(crate) standing: Arc<TlsStanding>,
    pub(crate) keeper: Keeper,
}

impl Tls {
    /// `state`: the folder in which the gateway may keep what it makes.
    pub(crate) fn open(settings: &TlsSettings, state: &Path, clock: Clock) -> Result<Self, TlsError> {
        let acceptor = Acceptor::new();
        let standing = Arc::new(TlsStanding::default());
        let clients = match &settings.clients {
            Some(clients) => {
                let watched = Watched::new(vec![clients.authority.clone()]);
                acceptor.trust(clients.load()?)?;
                Some((clients.clone(), watched))
            }
            None => None,
        };
        let (source, pair) = Source::open(&settings.origin, state, &acceptor, clock.now())?;
        if let Some(pair) = pair {
            acceptor.serve(pair.clone())?;
            standing.serves(&pair);
        }
        let keeper =
            Keeper { source, clients, acceptor: acceptor.clone(), standing: Arc::clone(&standing), clock };
        Ok(Self { acceptor, standing, keeper })
    }
}

impl fmt::Display for TlsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => files.fmt(f),
            Self::Acme(settings) => settings.fmt(f),
            Self::SelfSigned { names } => write!(f, "an authority of its own, for {}", names.join(", ")),
        }
    }
}
