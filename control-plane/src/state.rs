//! What requests share.

use crate::{clock::Clock, db::Database, questions::Questions, seal::Sealer};
use attach_proto::join_token::JoinToken;
use std::{sync::Arc, time::Duration};
use url::Url;

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) questions: Arc<Questions>,
    pub(crate) public_url: Arc<PublicUrl>,
    /// For the pin of a join token.
    pub(crate) authority_sha256: [u8; 32],
    /// Where gateways join, as `https://host:port`.
    pub(crate) grpc_url: Arc<str>,
    /// Issuers' keys that are older than that are late.
    pub(crate) jwks_ttl: Duration,
}

impl App {
    /// The one line that a GPU host joins with.
    pub(crate) fn join_line(&self, token: &JoinToken) -> String {
        format!("attach-gateway join {}@{}", token.as_str(), self.grpc_url)
    }
}

/// Where people reach this control plane: in links, and in what browsers are told.
#[derive(Debug)]
pub(crate) struct PublicUrl(Url);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--public-url: {text:?} {problem}; write for example https://attach.example.com")]
pub(crate) struct InvalidPublicUrl {
    text: String,
    problem: &'static str,
}

impl PublicUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPublicUrl> {
        let refused = |problem| InvalidPublicUrl { text: text.to_owned(), problem };
        let url = Url::parse(text).map_err(|_| refused("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("must not carry a user or a password"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("must end after the host and port: the console has a host of its own"));
        }
        Ok(Self(url))
    }

    /// As a browser names it in `Origin`; no slash at the end.
    pub(crate) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// A link to a path, which begins with a slash.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_scheme_a_host_and_a_port() {
        let url = PublicUrl::parse("https://attach.example.com:8443/").unwrap();
        assert_eq!(url.link("/sign-in"), "https://attach.example.com:8443/sign-in");
        assert!(url.is_https());
        for bad in ["attach.example.com", "ftp://a.example", "https://a.example/x", "https://u:p@a.example"] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
