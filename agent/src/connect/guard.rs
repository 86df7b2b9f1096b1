//! Whether a request is from a program of this machine, or from a page that its browser shows.
//!
//! A page of the web can have the browser send requests to loopback. To the browser's own rules it may look as if they went
//! to the page's own site, when that site's name has just been pointed at 127.0.0.1; but then `Host` has that name.

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;
use url::{Host, Url};

/// What the browser says of a request that it sends for a page (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Stranger {
    #[error("the Host header must be one of localhost, 127.0.0.1 and [::1], with the port {0}")]
    Host(u16),
    #[error("a page of the web may not use this port")]
    Page,
}

/// # Errors
/// Another host than loopback with `port`, or a page that is not from this machine.
pub(super) fn check<B>(request: &Request<B>, port: u16) -> Result<(), Stranger> {
    let headers = request.headers();
    let named = only(headers, &header::HOST).and_then(|host| host.to_str().ok());
    if !named.is_some_and(|host| is_here(host, port)) {
        return Err(Stranger::Host(port));
    }
    // A whole address in the request line wins over Host (RFC 9112 section 3.2.2).
    if let Some(authority) = request.uri().authority()
        && !is_here(authority.as_str(), port)
    {
        return Err(Stranger::Host(port));
    }
    let is_from_here = match only(headers, &header::ORIGIN) {
        Some(origin) => origin.to_str().is_ok_and(is_loopback_origin),
        None if headers.contains_key(header::ORIGIN) => false,
        // Without an Origin a browser still says whose request it is; `none` is what a person typed.
        None => headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "none" || site == "same-origin"),
    };
    if is_from_here { Ok(()) } else { Err(Stranger::Page) }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_here(authority: &str, port: u16) -> bool {
    let (host, given) = match authority.rsplit_once(':') {
        Some((host, given)) if !given.ends_with(']') => (host, given.parse().ok()),
        _ => (authority, Some(80)),
    };
    let is_loopback = host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]";
    is_loopback && given == Some(port)
}

/// A page that a server of this machine shows.
fn is_loopback_origin(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip == Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(ip)) => ip == Ipv6Addr::LOCALHOST,
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    is_loopback && matches!(url.scheme(), "http" | "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(target: &str, headers: &[(&'static str, &str)]) -> Result<(), Stranger> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), 11434)
    }

    #[test]
    fn a_program_names_loopback_and_the_port() {
        for host in ["localhost:11434", "LOCALHOST:11434", "127.0.0.1:11434", "[::1]:11434"] {
            assert_eq!(checked("/", &[("host", host)]), Ok(()), "{host}");
            assert_eq!(checked(&format!("http://{host}/"), &[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_name_that_was_pointed_at_loopback_is_not_here() {
        for host in [
            "evil.example:11434",
            "evil.example",
            "localhost",
            "localhost:11435",
            "127.0.0.1",
            "localhost.evil.example:11434",
            "evil.example:80:11434",
            "user@localhost:11434",
            "[::1]",
            "127.0.0.2:11434",
            "",
        ] {
            assert_eq!(checked("/", &[("host", host)]), Err(Stranger::Host(11434)), "{host}");
        }
        assert_eq!(checked("/", &[]), Err(Stranger::Host(11434)));
        let twice = [("host", "localhost:11434"), ("host", "evil.example")];
        assert_eq!(checked("/", &twice), Err(Stranger::Host(11434)));
        let here = [("host", "localhost:11434")];
        assert_eq!(checked("http://evil.example/", &here), Err(Stranger::Host(11434)));
    }

    #[test]
    fn a_page_of_the_web_is_a_stranger_and_one_of_this_machine_is_not() {
        let with =
            |name: &'static str, value: &str| checked("/", &[("host", "localhost:11434"), (name, value)]);
        for origin in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"] {
            assert_eq!(with("origin", origin), Ok(()), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "http://localhost.evil.example",
            "http://localhost@evil.example",
            "null",
            "",
            "file://localhost",
        ] {
            assert_eq!(with("origin", origin), Err(Stranger::Page), "{origin}");
        }
        for (site, is_let_in) in
            [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false)]
        {
            assert_eq!(with("sec-fetch-site", site).is_ok(), is_let_in, "{site}");
        }
    }
}
