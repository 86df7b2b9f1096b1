//! The request as it was read, whatever the version of HTTP.

use super::{
    Fault,
    head::{Asked, Framing, MAX_TARGET_BYTES, METHODS, hash},
    host::is_host,
    path::is_plain,
    stream::Given,
};
use http::{HeaderName, HeaderValue, Request, Uri, Version, header};
use http_body::Body;
use std::hash::BuildHasher;

/// Judges a request. Nothing of it has been used before. `given` is what the front handed on; HTTP/2 has no front: there
/// the protocol itself says where each part ends.
pub(crate) fn check<B: Body>(request: &Request<B>, given: Option<&Given>) -> Result<(), Fault> {
    if given.is_some_and(|given| !given.is_that(request)) {
        return Err(Fault::Disagreement);
    }
    if !METHODS.contains(&request.method().as_str().as_bytes()) {
        return Err(Fault::Method);
    }
    check_target(request.uri(), request.version())?;
    let mut host = None;
    let mut seen = Seen::default();
    for (name, value) in request.headers() {
        match *name {
            header::HOST if host.is_some() => return Err(Fault::Host),
            header::HOST => host = Some(value),
            header::CONTENT_LENGTH if seen.content_length => return Err(Fault::Framing),
            header::CONTENT_LENGTH => seen.content_length = true,
            header::EXPECT if !is_word(value, b"100-continue") => return Err(Fault::Expect),
            // Declined by not being heard: Java's client asks for h2c with its first request, and goes on without.
            header::UPGRADE if !is_word(value, b"h2c") => return Err(Fault::Upgrade),
            header::CONTENT_ENCODING if !is_word(value, b"identity") => return Err(Fault::Encoding),
            _ if says_who_calls(name) && request.headers().get_all(name).iter().nth(1).is_some() => {
                return Err(Fault::Spoofed);
            }
            _ => {}
        }
    }
    check_host(request.uri(), request.version(), host)
}

#[derive(Default)]
struct Seen {
    content_length: bool,
}

impl Asked {
    /// Whether hyper read the same request out of the same bytes.
    pub(super) fn is_that<B: Body>(&self, request: &Request<B>, hasher: &impl BuildHasher) -> bool {
        let length = match self.framing {
            Framing::Length(bytes) => Some(bytes),
            Framing::Chunked => None,
        };
        let target = request.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        request.body().size_hint().exact() == length
            && hash(hasher, request.method().as_str().as_bytes(), target.as_bytes()) == self.line
    }
}

fn check_target(uri: &Uri, version: Version) -> Result<(), Fault> {
    // A path and nothing else. HTTP/2 has scheme and authority in fields of their own.
    let is_path = version == Version::HTTP_2 || uri.scheme().is_none() && uri.authority().is_none();
    let target = uri.path_and_query().ok_or(Fault::Target)?;
    if !is_path {
        return Err(Fault::Target);
    }
    if target.as_str().len() > MAX_TARGET_BYTES {
        return Err(Fault::TargetTooLong);
    }
    if is_plain(target.path()) { Ok(()) } else { Err(Fault::Path) }
}

/// Exactly one (RFC 9112 section 3.2; RFC 9113 section 8.3.1); HTTP/1.0 may leave it out.
fn check_host(uri: &Uri, version: Version, header: Option<&HeaderValue>) -> Result<(), Fault> {
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let header = header.map(HeaderValue::as_bytes);
    let is_right = match (authority, header) {
        (Some(authority), Some(header)) => is_host(header) && header.eq_ignore_ascii_case(authority),
        (Some(host), None) | (None, Some(host)) => is_host(host),
        (None, None) => version == Version::HTTP_10,
    };
    if is_right { Ok(()) } else { Err(Fault::Host) }
}

fn is_word(value: &HeaderValue, word: &[u8]) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(word)
}

fn says_who_calls(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-attach-")
}
