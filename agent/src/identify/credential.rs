//! The one credential of a request, or the reason that there is not exactly one.

use super::fault::IdentityFault;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::{memchr, memchr2, memchr3};
use std::borrow::Cow;

/// Tokens of real issuers stay below 8 KiB, which is what common servers allow for one header; twice that.
pub(super) const MAX_CREDENTIAL_BYTES: usize = 16 * 1024;

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request brings as proof. Nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Credential<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) scheme: Scheme,
}

/// How a credential came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    /// A key, and no token: what stores passwords would keep a token beyond its end.
    Basic,
    /// A token that is bound to a key (RFC 9449 section 7.1).
    Dpop,
    /// `x-api-key`.
    Key,
}

/// What comes after `Bearer`, the password of `Basic` (RFC 7617; its user name counts for nothing), or `x-api-key`; two of
/// them only when they are equal, as some SDKs send them.
///
/// # Errors
/// None, two that differ, a list, another scheme, or more than [`MAX_CREDENTIAL_BYTES`].
pub(super) fn credential(headers: &HeaderMap) -> Result<Credential<'_>, IdentityFault> {
    let authorization = only(headers, &header::AUTHORIZATION)?.map(authorization).transpose()?;
    let key = only(headers, &X_API_KEY)?
        .map(|value| Credential { bytes: Cow::Borrowed(value.as_bytes().trim_ascii()), scheme: Scheme::Key });
    let credential = match (authorization, key) {
        (Some(one), Some(other)) if one.bytes != other.bytes => return Err(IdentityFault::TwoCredentials),
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => return Err(IdentityFault::NoCredential),
    };
    if credential.bytes.is_empty() {
        return Err(IdentityFault::NoCredential);
    }
    check_single(&credential.bytes)?;
    check_size(&credential.bytes)?;
    Ok(credential)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, IdentityFault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(IdentityFault::TwoCredentials),
        (only, None) => Ok(only),
    }
}

/// The scheme's case does not matter (RFC 9110 section 11.1).
fn authorization(value: &HeaderValue) -> Result<Credential<'_>, IdentityFault> {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Ok(Credential { bytes: Cow::Borrowed(rest), scheme: Scheme::Bearer })
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        Ok(Credential { bytes: Cow::Owned(password(rest)?), scheme: Scheme::Basic })
    } else if scheme.eq_ignore_ascii_case(b"dpop") {
        Ok(Credential { bytes: Cow::Borrowed(rest), scheme: Scheme::Dpop })
    } else {
        Err(IdentityFault::SchemeNotKnown)
    }
}

/// Base64 of `user:password`; only the password may have a colon (RFC 7617 section 2).
fn password(encoded: &[u8]) -> Result<Vec<u8>, IdentityFault> {
    check_single(encoded)?;
    check_size(encoded)?;
    let mut decoded = STANDARD.decode(encoded).map_err(|_| IdentityFault::MalformedBasic)?;
    let colon = decoded.iter().position(|&byte| byte == b':').ok_or(IdentityFault::MalformedBasic)?;
    Ok(decoded.split_off(colon + 1))
}

/// An intermediary joins repeated headers with commas: `Bearer a, Bearer b` is two credentials. Neither a token nor an
/// API key nor base64 has a comma or a blank.
fn check_single(credential: &[u8]) -> Result<(), IdentityFault> {
    // Byte by byte it would take longer than to find a caller who is known.
    let blank = memchr3(b' ', b'\t', b'\n', credential).or_else(|| memchr2(b'\r', b'\x0c', credential));
    match blank.or_else(|| memchr(b',', credential)) {
        Some(_) => Err(IdentityFault::TwoCredentials),
        None => Ok(()),
    }
}

fn check_size(credential: &[u8]) -> Result<(), IdentityFault> {
    if credential.len() > MAX_CREDENTIAL_BYTES {
        return Err(IdentityFault::TooLarge { bytes: credential.len(), max: MAX_CREDENTIAL_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<(Vec<u8>, bool), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let credential = credential(&headers).map_err(|fault| fault.code())?;
        Ok((credential.bytes.into_owned(), credential.scheme == Scheme::Basic))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn a_caller_with_one_credential_is_heard_in_every_spelling() {
        for lines in [
            &[("authorization", "Bearer k")][..],
            &[("authorization", "bearer k")],
            &[("authorization", "BEARER   k ")],
            &[("x-api-key", "k")],
            &[("x-api-key", "k"), ("authorization", "Bearer k")],
        ] {
            assert_eq!(read(lines), Ok((b"k".to_vec(), false)), "{lines:?}");
        }
    }

    #[test]
    fn the_password_of_basic_is_a_credential_whatever_the_user_is_called() {
        for (text, password) in
            [("ada:k", "k"), (":k", "k"), ("atk_id:k", "k"), ("ada:k:l", "k:l"), ("ä:k", "k")]
        {
            let value = basic(text);
            for lines in [
                &[("authorization", value.as_str())][..],
                &[("authorization", &value.replacen("Basic", "bASIC  ", 1))],
                &[("authorization", &value), ("x-api-key", password)],
            ] {
                assert_eq!(read(lines), Ok((password.as_bytes().to_vec(), true)), "{lines:?}");
            }
        }
    }

    #[test]
    fn t15_a_caller_with_two_credentials_is_refused_and_never_the_first_that_works() {
        let (one, other) = (basic("ada:k"), basic("ada:j"));
        for lines in [
            &[("authorization", "Bearer k"), ("authorization", "Bearer k")][..],
            &[("authorization", "Bearer bad"), ("authorization", "Bearer k")],
            &[("authorization", "Bearer j"), ("x-api-key", "k")],
            &[("x-api-key", "k"), ("x-api-key", "k")],
            &[("authorization", "Bearer j, Bearer k")],
            &[("authorization", "Bearer j,k")],
            &[("authorization", "Bearer j k")],
            &[("x-api-key", "j, k")],
            &[("authorization", &one), ("authorization", "Bearer k")],
            &[("authorization", &one), ("authorization", &one)],
            &[("authorization", &other), ("x-api-key", "k")],
            &[("authorization", &format!("{one}, {other}"))],
            &[("authorization", &format!("{one}, Bearer k"))],
            &[("authorization", &format!("{one} k"))],
            &[("authorization", &basic("ada:j, k"))],
        ] {
            assert_eq!(read(lines), Err("two_credentials"), "{lines:?}");
        }
    }

    #[test]
    fn a_caller_without_a_usable_credential_is_told_which_kind_of_nothing_it_sent() {
        assert_eq!(read(&[]), Err("no_credential"));
        assert_eq!(read(&[("authorization", "Bearer ")]), Err("no_credential"));
        assert_eq!(read(&[("x-api-key", "")]), Err("no_credential"));
        assert_eq!(read(&[("authorization", &basic("ada:"))]), Err("no_credential"));
        assert_eq!(read(&[("authorization", "Digest a2V5")]), Err("scheme_not_known"));
        assert_eq!(read(&[("authorization", "Digest a2V5"), ("x-api-key", "k")]), Err("scheme_not_known"));
        assert_eq!(read(&[("authorization", "k")]), Err("scheme_not_known"));
        for malformed in ["Basic", "Basic a2V5", "Basic ada:k", "Basic YWRhOms", "Basic YWRhOms=="] {
            assert_eq!(read(&[("authorization", malformed)]), Err("malformed_basic"), "{malformed}");
        }
        let long = "x".repeat(MAX_CREDENTIAL_BYTES + 1);
        assert_eq!(read(&[("x-api-key", &long)]), Err("credential_too_large"));
        assert_eq!(read(&[("authorization", &basic(&format!(":{long}")))]), Err("credential_too_large"));
        // What is decoded would fit.
        assert_eq!(
            read(&[("authorization", &basic(&format!(":{}", &long[2..])))]),
            Err("credential_too_large")
        );
        assert!(read(&[("x-api-key", &long[1..])]).is_ok());
    }
}
