//! The one credential of a request, or the reason that there is not exactly one.

use super::fault::IdentityFault;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Tokens of real issuers stay below 8 KiB, which is what common servers allow for one header; twice that.
pub(super) const MAX_CREDENTIAL_BYTES: usize = 16 * 1024;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The bytes after `Bearer`, or those of `x-api-key`; both only when they are equal, as some SDKs send them.
///
/// # Errors
/// None, two that differ, a list, another scheme, or more than [`MAX_CREDENTIAL_BYTES`].
pub(super) fn credential(headers: &HeaderMap) -> Result<&[u8], IdentityFault> {
    let bearer = only(headers, &header::AUTHORIZATION)?.map(after_bearer).transpose()?;
    let key = only(headers, &X_API_KEY)?.map(|value| value.as_bytes().trim_ascii());
    let credential = match (bearer, key) {
        (Some(bearer), Some(key)) if bearer != key => return Err(IdentityFault::TwoCredentials),
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => &[],
    };
    if credential.is_empty() {
        return Err(IdentityFault::NoCredential);
    }
    // An intermediary joins repeated headers with commas: `Bearer a, Bearer b` is two credentials. Neither a token
    // nor an API key has a comma or a blank.
    if credential.iter().any(|&byte| byte == b',' || byte.is_ascii_whitespace()) {
        return Err(IdentityFault::TwoCredentials);
    }
    if credential.len() > MAX_CREDENTIAL_BYTES {
        return Err(IdentityFault::TooLarge { bytes: credential.len(), max: MAX_CREDENTIAL_BYTES });
    }
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
fn after_bearer(value: &HeaderValue) -> Result<&[u8], IdentityFault> {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Ok(rest.trim_ascii())
    } else {
        Err(IdentityFault::SchemeNotBearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Vec<u8>, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        credential(&headers).map(<[u8]>::to_vec).map_err(|fault| fault.code())
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
            assert_eq!(read(lines), Ok(b"k".to_vec()), "{lines:?}");
        }
    }

    #[test]
    fn t15_a_caller_with_two_credentials_is_refused_and_never_the_first_that_works() {
        for lines in [
            &[("authorization", "Bearer k"), ("authorization", "Bearer k")][..],
            &[("authorization", "Bearer bad"), ("authorization", "Bearer k")],
            &[("authorization", "Bearer j"), ("x-api-key", "k")],
            &[("x-api-key", "k"), ("x-api-key", "k")],
            &[("authorization", "Bearer j, Bearer k")],
            &[("authorization", "Bearer j,k")],
            &[("authorization", "Bearer j k")],
            &[("x-api-key", "j, k")],
        ] {
            assert_eq!(read(lines), Err("two_credentials"), "{lines:?}");
        }
    }

    #[test]
    fn a_caller_without_a_usable_credential_is_told_which_kind_of_nothing_it_sent() {
        assert_eq!(read(&[]), Err("no_credential"));
        assert_eq!(read(&[("authorization", "Bearer ")]), Err("no_credential"));
        assert_eq!(read(&[("x-api-key", "")]), Err("no_credential"));
        assert_eq!(read(&[("authorization", "Basic a2V5")]), Err("scheme_not_bearer"));
        assert_eq!(read(&[("authorization", "Basic a2V5"), ("x-api-key", "k")]), Err("scheme_not_bearer"));
        assert_eq!(read(&[("authorization", "k")]), Err("scheme_not_bearer"));
        let long = "x".repeat(MAX_CREDENTIAL_BYTES + 1);
        assert_eq!(read(&[("x-api-key", &long)]), Err("credential_too_large"));
        assert!(read(&[("x-api-key", &long[1..])]).is_ok());
    }
}
