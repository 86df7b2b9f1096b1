//! Where a control plane is reached.

use std::{fmt, str::FromStr};
use url::Url;

/// `https://host[:port]`, without anything behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a control plane; write https://host:port")]
pub(crate) struct InvalidAddress(String);

impl Address {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        let url = Url::parse(text).map_err(|_| invalid())?;
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        if url.scheme() == "https" && has_host && is_bare { Ok(Self(url)) } else { Err(invalid()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_secure_host_and_port_and_nothing_more() {
        for (text, expected) in [
            ("https://control.example:8443", "https://control.example:8443"),
            ("https://10.0.0.1:8443/", "https://10.0.0.1:8443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("https://control.example", "https://control.example"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), expected);
        }
        for bad in [
            "",
            "control:8443",
            "http://control:8443",
            "https://",
            "https://u:p@c:1",
            "https://c:1/x",
            "https://c/?a",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
