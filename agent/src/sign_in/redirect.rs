//! Where the browser comes back to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};
use url::{Host, Url};

/// A loopback address (RFC 8252 section 7.3). Its port may be 0: then a free one is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedirectUri(Url);

impl RedirectUri {
    /// Where to listen. `localhost` is the IPv4 one: browsers try both.
    pub(super) fn address(&self) -> SocketAddr {
        let ip = match self.0.host() {
            Some(Host::Ipv4(ip)) => IpAddr::from(ip),
            Some(Host::Ipv6(ip)) => ip.into(),
            Some(Host::Domain(_)) | None => Ipv4Addr::LOCALHOST.into(),
        };
        (ip, self.0.port_or_known_default().unwrap_or(0)).into()
    }

    pub(super) fn path(&self) -> &str {
        self.0.path()
    }

    /// With the port that was taken.
    pub(super) fn at(&self, port: u16) -> String {
        let mut url = self.0.clone();
        // Never refused: the address has a host.
        let _ = url.set_port(Some(port));
        url.into()
    }
}

impl FromStr for RedirectUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|error| format!("is no URL: {error}"))?;
        let is_loopback = match url.host() {
            Some(Host::Ipv4(ip)) => ip == Ipv4Addr::LOCALHOST,
            Some(Host::Ipv6(ip)) => ip == Ipv6Addr::LOCALHOST,
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if url.scheme() != "http" || !is_loopback || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "must be http://127.0.0.1:PORT/PATH (or localhost, or [::1]), without query and fragment"
                    .to_owned(),
            );
        }
        Ok(Self(url))
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_may_come_back_to_loopback_alone() {
        for (text, listens, comes_back) in [
            ("http://127.0.0.1:0/callback", "127.0.0.1:0", "http://127.0.0.1:7000/callback"),
            ("http://localhost:0", "127.0.0.1:0", "http://localhost:7000/"),
            ("http://[::1]:4000/x", "[::1]:4000", "http://[::1]:7000/x"),
        ] {
            let uri: RedirectUri = text.parse().unwrap();
            assert_eq!((uri.address().to_string().as_str(), uri.at(7000).as_str()), (listens, comes_back));
        }
        for text in [
            "http://127.0.0.2/",
            "http://example.com/",
            "https://localhost/",
            "http://localhost/?a",
            "http://localhost/#a",
            "callback",
        ] {
            assert!(text.parse::<RedirectUri>().is_err(), "{text}");
        }
    }
}
