//! Pages of other origins that may call the gateway from a browser (the Fetch standard, section 3.2).
//!
//! Credentials of a browser (cookies, client certificates) are never allowed: a page sends the token that it has, and one
//! that has none gets nothing for its visitor's.

use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use std::sync::Arc;

/// How long a browser may keep what it was told, in seconds. Some keep it for two hours at most, all for ten minutes.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// What a page may read of an answer beside the few headers that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-llm-model, x-tokens-in, x-tokens-out, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
     x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, \
     retry-after, www-authenticate",
);

/// Which origins may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Cors {
    /// None: browsers refuse pages of other origins, as they do by themselves.
    #[default]
    Off,
    Any,
    Listed(Arc<[HeaderValue]>),
}

impl Cors {
    /// From origins as a browser names them, or `*`.
    pub(crate) fn new<'a>(origins: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut listed = Vec::new();
        let mut is_any = false;
        for origin in origins.map(str::trim) {
            if origin == "*" {
                is_any = true;
            } else {
                listed.push(parse(origin).ok_or_else(|| format!("{origin:?} is no origin"))?);
            }
        }
        match (is_any, listed.is_empty()) {
            (true, true) => Ok(Self::Any),
            (true, false) => Err("`*` stands beside other origins, which it makes meaningless".to_owned()),
            (false, true) => Ok(Self::Off),
            (false, false) => Ok(Self::Listed(listed.into())),
        }
    }

    /// The headers that answer a browser which asks whether a page may call at all. It has no credential by then.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<HeaderMap> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS
            || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            || self.allowed(headers.get(ORIGIN)).is_none()
        {
            return None;
        }
        let mut answer = HeaderMap::new();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        // SDKs send a dozen of their own. None of them does more than the credential beside it.
        if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer.append(VARY, HeaderValue::from_static("access-control-request-headers"));
        Some(answer)
    }

    /// Lets the page read the answer, a refusal too: else its developer sees a network error in place of the reason.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if matches!(self, Self::Listed(_)) {
            // Also without an origin, or a cache could give a page the answer for none.
            answer.append(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(allowed) = self.allowed(origin) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// The value of `Access-Control-Allow-Origin`.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        match self {
            Self::Off => None,
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Listed(origins) => origins.contains(origin).then(|| origin.clone()),
        }
    }
}

/// `scheme://host` or `scheme://host:port`, as browsers write it: in lower case and without a path. Apps have schemes of
/// their own. `null` is what every sandboxed page is called, so it can't be allowed.
fn parse(text: &str) -> Option<HeaderValue> {
    let (scheme, host) = text.split_once("://")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    let is_origin = !scheme.is_empty()
        && !host.is_empty()
        && scheme.chars().all(|c| plain(c) || c == '+')
        && host.chars().all(|c| plain(c) || matches!(c, ':' | '[' | ']'));
    is_origin.then(|| HeaderValue::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for good in
            ["https://app.example.com", "http://localhost:3000", "http://[::1]:80", "tauri://localhost"]
        {
            assert!(matches!(Cors::new([good].into_iter()), Ok(Cors::Listed(_))), "{good}");
        }
        for bad in [
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "null",
            "https://",
            "https://*.a",
        ] {
            assert!(Cors::new([bad].into_iter()).is_err(), "{bad}");
        }
        assert_eq!(Cors::new(["*"].into_iter()), Ok(Cors::Any));
        assert!(Cors::new(["*", "https://a.example"].into_iter()).is_err());
        assert_eq!(Cors::new([].into_iter()), Ok(Cors::Off));
    }
}
