//! Which headers cross the gateway, as tables.

use crate::{
    ask::Content,
    hop_by_hop::{connection_listed, crosses},
    identify::Principal,
};
use aws_lc_rs::digest::{self, SHA256};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, CONTENT_ENCODING, CONTENT_TYPE, HOST},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;

/// Never reach the engine: credentials; what would make Ollama refuse (a foreign Origin or Host) or believe a
/// client address; what frames the body, which is ours; what would make the answer unreadable to the meter.
static NOT_FOR_THE_ENGINE: [HeaderName; 15] = [
    HeaderName::from_static("dpop"),
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    header::COOKIE,
    header::ORIGIN,
    header::REFERER,
    HOST,
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    header::CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

/// Begin the names of headers that say who calls. That is the gateway's own word: a caller's header of such a name is
/// dropped, however it is spelled. Where an application may name its user, it was read before.
const STAMPED_PREFIXES: [&str; 3] = ["x-attach-", "x-forwarded-", "x-openwebui-user-"];

const X_ATTACH_USER: HeaderName = HeaderName::from_static("x-attach-user");
const X_ATTACH_SESSION: HeaderName = HeaderName::from_static("x-attach-session");
const X_ATTACH_CLAIMS: HeaderName = HeaderName::from_static("x-attach-claims");
const X_ATTACH_TENANT: HeaderName = HeaderName::from_static("x-attach-tenant");
const X_ATTACH_PROJECT: HeaderName = HeaderName::from_static("x-attach-project");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The percent sign too, so that what arrives can be read back without doubt.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The gateway says these itself, or leaves them out.
static OURS: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    X_REQUEST_ID,
    HeaderName::from_static("x-llm-model"),
    HeaderName::from_static("x-tokens-in"),
    HeaderName::from_static("x-tokens-out"),
];

/// Which pages may read an answer is the gateway's to say; an engine says it of itself, often to all.
const CORS_PREFIX: &str = "access-control-";

/// Characters of the session id that existing engines behind Attach Gateway know.
const SESSION_CHARACTERS: usize = 16;

/// The headers of the request to the engine.
pub(crate) fn towards_engine(
    from_caller: &HeaderMap,
    principal: &Principal,
    request_id: &HeaderValue,
    content: Content,
) -> HeaderMap {
    let listed = connection_listed(from_caller);
    let mut headers = HeaderMap::with_capacity(from_caller.len() + 6);
    for (name, value) in from_caller {
        if crosses(name, &listed) && !NOT_FOR_THE_ENGINE.contains(name) && !is_stamped(name) {
            headers.append(name, value.clone());
        }
    }
    match content {
        Content::None => {}
        // Engines behind FastAPI insist on the name.
        Content::Json => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Content::AsItCame => {
            for name in [CONTENT_TYPE, CONTENT_ENCODING] {
                headers.extend(from_caller.get(&name).map(|value| (name, value.clone())));
            }
        }
    }
    stamp(&mut headers, from_caller, principal);
    headers.insert(X_REQUEST_ID, request_id.clone());
    headers
}

/// The headers of the answer to the caller.
pub(crate) fn towards_caller(from_engine: &HeaderMap) -> HeaderMap {
    let listed = connection_listed(from_engine);
    let mut headers = HeaderMap::with_capacity(from_engine.len() + 8);
    for (name, value) in from_engine {
        if crosses(name, &listed) && !OURS.contains(name) && !name.as_str().starts_with(CORS_PREFIX) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// `X_Attach_User` is the same as `X-Attach-User` to servers that read headers as CGI variables, and `Content_Length` as
/// `Content-Length`: no header with an underscore crosses, which is nginx's default too.
fn is_stamped(name: &HeaderName) -> bool {
    let name = name.as_str();
    STAMPED_PREFIXES.into_iter().any(|prefix| name.starts_with(prefix)) || name.contains('_')
}

fn stamp(headers: &mut HeaderMap, from_caller: &HeaderMap, principal: &Principal) {
    let mut set = |name, text: &str| {
        let escaped = Cow::from(utf8_percent_encode(text, ESCAPED));
        if let Ok(value) = HeaderValue::from_str(&escaped) {
            headers.insert(name, value);
        }
    };
    set(X_ATTACH_USER, &principal.subject);
    set(X_ATTACH_TENANT, principal.tenant.as_str());
    if let Some(project) = &principal.project {
        set(X_ATTACH_PROJECT, project);
    }
    if let Some(claims) = &principal.forwarded_claims {
        set(X_ATTACH_CLAIMS, claims);
    }
    if let Ok(value) = HeaderValue::from_bytes(&session(&principal.subject, from_caller)) {
        headers.insert(X_ATTACH_SESSION, value);
    }
}

/// The first half of a hash of who and with what, as Attach Gateway makes it: SHA-256 of `sub:User-Agent`.
fn session(subject: &str, from_caller: &HeaderMap) -> [u8; SESSION_CHARACTERS] {
    let user_agent = from_caller.get(header::USER_AGENT).map_or(&[][..], HeaderValue::as_bytes);
    let hash = digest::digest(&SHA256, &[subject.as_bytes(), b":", user_agent].concat());
    let mut characters = [0; SESSION_CHARACTERS];
    for (pair, byte) in characters.chunks_exact_mut(2).zip(hash.as_ref()) {
        pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    characters
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::usage::PrincipalKind;

    fn principal(subject: &str) -> Principal {
        Principal::new("acme".parse().unwrap(), PrincipalKind::User, subject.to_owned())
    }

    fn stamped(pairs: &[(&'static str, &str)], subject: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        towards_engine(&headers, &principal(subject), &HeaderValue::from_static("r-1"), Content::Json)
    }

    #[test]
    fn a_caller_can_neither_set_who_it_is_nor_pass_a_credential_on() {
        let headers = stamped(
            &[
                ("x-attach-user", "root"),
                ("x_attach_user", "root"),
                ("x-attach-tenant", "other"),
                ("x-attach-anything", "x"),
                ("x-attach-on-behalf-of", "root"),
                ("x-openwebui-user-id", "root"),
                ("x_openwebui_user_email", "root@acme.example"),
                ("x-openwebui-chat-id", "c-1"),
                ("authorization", "Bearer secret"),
                ("x-api-key", "secret"),
                ("cookie", "a=secret"),
                ("dpop", "secret"),
                ("x-forwarded-for", "1.2.3.4"),
                ("origin", "https://evil.example"),
                ("connection", "close, x-mine"),
                ("x-mine", "1"),
                ("x-stays", "1"),
            ],
            "auth0|alice",
        );
        assert_eq!(headers.get_all("x-attach-user").iter().collect::<Vec<_>>(), ["auth0|alice"]);
        assert_eq!(headers["x-attach-tenant"], "acme");
        for gone in [
            "x_attach_user",
            "x-attach-anything",
            "x-attach-on-behalf-of",
            "x-openwebui-user-id",
            "x_openwebui_user_email",
            "authorization",
            "x-api-key",
            "cookie",
            "dpop",
            "x-forwarded-for",
            "origin",
            "x-mine",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(
            (&headers["x-stays"], &headers["x-openwebui-chat-id"]),
            (&"1".parse().unwrap(), &"c-1".parse().unwrap())
        );
    }

    #[test]
    fn the_session_is_the_one_that_attach_gateway_made() {
        // Observed on the incumbent: sub `auth0|alice`, User-Agent `python-httpx/0.28.1`.
        let headers = stamped(&[("user-agent", "python-httpx/0.28.1")], "auth0|alice");
        assert_eq!(headers["x-attach-session"], "859c54b716ffb253");
    }

    #[test]
    fn a_subject_of_any_characters_fits_the_header_whole() {
        assert_eq!(stamped(&[], "zoë\r\nx: 50%")["x-attach-user"], "zo%C3%AB%0D%0Ax: 50%25");
    }
}
