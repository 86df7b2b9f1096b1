//! The end user on whose behalf an application calls, as the application names it. Read only beside a key with the scope
//! `act_as`; of any other caller these headers count for nothing.

use super::{fault::IdentityFault, principal::Principal};
use attach_proto::usage::PrincipalKind;
use http::HeaderMap;
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// The longest subject of OpenID Connect (Core section 2); addresses of mail end at 254 (RFC 5321 section 4.5.3.1.3).
const MAX_NAME_BYTES: usize = 255;

/// Ours. Encoded as `X-Attach-User` is: percent-encoded where it is no printable ASCII, and the percent sign itself.
const ON_BEHALF_OF: &str = "X-Attach-On-Behalf-Of";

/// Those of Open WebUI (`ENABLE_FORWARD_USER_INFO_HEADERS`), under the names that it has for them of itself. Id and address
/// are sent as they are. Its name for the person can change, and its role is a role there and not here: neither counts.
const WEBUI_ID: &str = "X-OpenWebUI-User-Id";
const WEBUI_EMAIL: &str = "X-OpenWebUI-User-Email";
const WEBUI_OTHERS: [&str; 2] = ["X-OpenWebUI-User-Name", "X-OpenWebUI-User-Role"];
/// Instead of the others, when it has a secret to sign with. Nobody told us that secret.
const WEBUI_SIGNED: &str = "X-OpenWebUI-User-Jwt";

#[derive(Debug, PartialEq)]
pub(super) struct NamedUser {
    subject: String,
    email: Option<String>,
}

impl NamedUser {
    /// `None` when the application calls for itself.
    ///
    /// # Errors
    /// A header that names nobody or comes twice, and two users at once.
    pub(super) fn read(headers: &HeaderMap) -> Result<Option<Self>, IdentityFault> {
        let on_behalf_of = named(headers, ON_BEHALF_OF, decode)?;
        let id = named(headers, WEBUI_ID, |bytes| Ok(Cow::Borrowed(bytes)))?;
        let email = named(headers, WEBUI_EMAIL, |bytes| Ok(Cow::Borrowed(bytes)))?;
        let subject = match (on_behalf_of, id) {
            (Some(one), Some(other)) if one != other => return Err(IdentityFault::TwoNamedUsers),
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => match &email {
                Some(email) => email.clone(),
                None => return says_nothing_else(headers).map(|()| None),
            },
        };
        Ok(Some(Self { subject, email }))
    }

    /// Bounded by what the application's key may do, and in its groups: to name a user is no way out of their limits.
    pub(super) fn of(self, application: &Principal) -> Principal {
        Principal {
            kind: PrincipalKind::User,
            subject: self.subject,
            email: self.email,
            delegated_by: application.key.clone(),
            ..application.clone()
        }
    }
}

/// An application that means to name a user and does not must not be served as itself.
fn says_nothing_else(headers: &HeaderMap) -> Result<(), IdentityFault> {
    if headers.contains_key(WEBUI_SIGNED) {
        let problem = "can't be read here; unset FORWARD_USER_INFO_HEADER_JWT_SECRET at Open WebUI";
        return Err(IdentityFault::NamedUser { header: WEBUI_SIGNED, problem });
    }
    if WEBUI_OTHERS.iter().any(|name| headers.contains_key(*name)) {
        let problem = "is missing, and so is X-OpenWebUI-User-Email";
        return Err(IdentityFault::NamedUser { header: WEBUI_ID, problem });
    }
    Ok(())
}

fn named(
    headers: &HeaderMap,
    name: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<Cow<'_, [u8]>, &'static str>,
) -> Result<Option<String>, IdentityFault> {
    let mut values = headers.get_all(name).iter();
    let fault = |problem| IdentityFault::NamedUser { header: name, problem };
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(_), Some(_)) => return Err(fault("is there twice")),
        (Some(value), None) => value,
    };
    let bytes = decode(value.as_bytes()).map_err(fault)?;
    let text = str::from_utf8(&bytes).map_err(|_| fault("is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(fault("is empty"));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(fault("is longer than 255 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(fault("has a control character"));
    }
    Ok(Some(text.to_owned()))
}

fn decode(bytes: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let after_signs = bytes.split(|&byte| byte == b'%').skip(1);
    let is_escape =
        |rest: &[u8]| rest.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !{ after_signs }.all(is_escape) {
        return Err("has a percent sign without two hexadecimal digits; write %25 for the sign itself");
    }
    Ok(percent_decode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(lines: &[(&'static str, &str)]) -> Result<Option<(String, Option<String>)>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let named = NamedUser::read(&headers).map_err(|fault| fault.to_string())?;
        Ok(named.map(|named| (named.subject, named.email)))
    }

    #[test]
    fn a_user_is_named_by_either_family_of_headers_or_by_both_alike() {
        let named =
            |subject: &str, email: Option<&str>| Ok(Some((subject.to_owned(), email.map(str::to_owned))));
        assert_eq!(read(&[("x-attach-on-behalf-of", "ada")]), named("ada", None));
        assert_eq!(read(&[("x-attach-on-behalf-of", "zo%C3%AB 100%25")]), named("zoë 100%", None));
        assert_eq!(read(&[("x-attach-on-behalf-of", "zoë")]), named("zoë", None));
        let webui = [
            ("x-openwebui-user-name", "Zo%C3%AB Doe"),
            ("x-openwebui-user-id", "7f3c"),
            ("x-openwebui-user-email", "zoë@acme.example"),
            ("x-openwebui-user-role", "admin"),
        ];
        assert_eq!(read(&webui), named("7f3c", Some("zoë@acme.example")));
        assert_eq!(read(&webui[2..]), named("zoë@acme.example", Some("zoë@acme.example")));
        let both = [webui.as_slice(), &[("x-attach-on-behalf-of", "7f3c")]].concat();
        assert_eq!(read(&both), named("7f3c", Some("zoë@acme.example")));
        let longest = "x".repeat(255);
        assert_eq!(read(&[("x-attach-on-behalf-of", &longest)]), named(&longest, None));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("x-openwebui-chat-id", "c-1")]), Ok(None));
    }

    #[test]
    fn whoever_names_nobody_or_two_is_told_where() {
        let long = "x".repeat(256);
        for (lines, expected) in [
            (
                &[("x-attach-on-behalf-of", "")][..],
                "X-Attach-On-Behalf-Of, which names the end user, is empty",
            ),
            (
                &[("x-attach-on-behalf-of", "%20")],
                "X-Attach-On-Behalf-Of, which names the end user, is empty",
            ),
            (&[("x-attach-on-behalf-of", &long)], "is longer than 255 bytes"),
            (&[("x-attach-on-behalf-of", "a%0Ab")], "has a control character"),
            (&[("x-attach-on-behalf-of", "a\tb")], "has a control character"),
            (&[("x-attach-on-behalf-of", "a%FF")], "is not UTF-8"),
            (&[("x-attach-on-behalf-of", "100%")], "percent sign without two hexadecimal digits"),
            (&[("x-attach-on-behalf-of", "%+1")], "percent sign without two hexadecimal digits"),
            (&[("x-attach-on-behalf-of", "a"), ("x-attach-on-behalf-of", "a")], "is there twice"),
            (
                &[("x-openwebui-user-id", "a"), ("x-openwebui-user-id", "b")],
                "X-OpenWebUI-User-Id, which names the end user, is there twice",
            ),
            (&[("x-openwebui-user-id", "")], "X-OpenWebUI-User-Id, which names the end user, is empty"),
            (
                &[("x-openwebui-user-id", "a"), ("x-openwebui-user-email", &long)],
                "X-OpenWebUI-User-Email, which names the end user, is longer",
            ),
            (
                &[("x-openwebui-user-name", "Ada")],
                "X-OpenWebUI-User-Id, which names the end user, is missing",
            ),
            (
                &[("x-openwebui-user-role", "user")],
                "X-OpenWebUI-User-Id, which names the end user, is missing",
            ),
            (&[("x-openwebui-user-jwt", "ey.ey.x")], "unset FORWARD_USER_INFO_HEADER_JWT_SECRET"),
            (&[("x-attach-on-behalf-of", "a"), ("x-openwebui-user-id", "b")], "two users"),
        ] {
            let error = read(lines).unwrap_err();
            assert!(error.contains(expected), "{lines:?}: {error}");
        }
    }
}
