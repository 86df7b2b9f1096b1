//! From the host of a URL to the addresses that it has now.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use thiserror::Error;
use tokio::net::lookup_host;
use url::{Host, Url};

/// Who is asked.
#[derive(Debug, Clone)]
pub enum Resolver {
    /// The machine's own: its hosts file and its DNS.
    System,
    /// Gives these in turn, to names; the last again and again.
    #[cfg(any(test, feature = "scripted-names"))]
    Scripted(std::sync::Arc<parking_lot::Mutex<std::collections::VecDeque<Vec<IpAddr>>>>),
}

#[derive(Debug, Error)]
pub enum ResolveError {
    #[error("the address names no host")]
    NoHost,
    #[error("the name {name:?} does not resolve: {source}")]
    Failed { name: String, source: io::Error },
    #[error("the name {0:?} resolves to no address")]
    NoAddress(String),
}

impl Resolver {
    /// At least one.
    pub async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, ResolveError> {
        let port = url.port_or_known_default().unwrap_or(80);
        let name = match url.host().ok_or(ResolveError::NoHost)? {
            Host::Ipv4(ip) => return Ok(vec![(ip, port).into()]),
            Host::Ipv6(ip) => return Ok(vec![(ip, port).into()]),
            Host::Domain(name) => name,
        };
        // RFC 6761 section 6.3: such a name is always loopback. Known without a look-up, it needs no hosts file (an
        // empty root file system has none) and no thread; and an engine may listen on either of the two.
        if name == "localhost" || name.ends_with(".localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(loopback.map(|ip| (ip, port).into()).to_vec());
        }
        let found = self.look_up(name, port).await;
        let found = found.map_err(|source| ResolveError::Failed { name: name.to_owned(), source })?;
        if found.is_empty() { Err(ResolveError::NoAddress(name.to_owned())) } else { Ok(found) }
    }

    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(lookup_host((name, port)).await?.collect()),
            #[cfg(any(test, feature = "scripted-names"))]
            Self::Scripted(script) => {
                let mut script = script.lock();
                let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
                Ok(next.unwrap_or_default().into_iter().map(|ip| (ip, port).into()).collect())
            }
        }
    }
}
