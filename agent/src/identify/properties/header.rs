//! The header of a token, and the token's form.

use super::{
    super::token::{Header, Token},
    assert_fit_for_a_log,
    written::object,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// RFC 7518 section 3.1, RFC 8037 and RFC 8812 without `none` and HMAC.
const ALGORITHMS: [&str; 11] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "ES256K"];

/// Members that no header may have: RFC 7515 section 4.1.11, RFC 7797, RFC 7516, RFC 8725 section 3.10.
const REFUSED: [&str; 9] = ["crit", "b64", "zip", "cty", "enc", "jku", "jwk", "x5u", "x5c"];

/// Algorithm, key id, and whether it says that it is an access token.
type Policy = (String, Option<String>, bool);

/// Of a header's JSON, and of a whole token where the input is one.
pub fn header(input: &[u8]) {
    let read = Header::parse(input);
    if let Err(fault) = &read {
        assert_fit_for_a_log(fault);
    }
    let read = read
        .ok()
        .map(|Header { algorithm, key_id, is_at_jwt }| (algorithm.name().to_owned(), key_id, is_at_jwt));
    assert_eq!(read, object(input).and_then(|members| policy(&members)));

    let text = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(input));
    assert_eq!(Token::parse(&text).is_ok(), read.is_some(), "{text}");
    if let Ok(text) = str::from_utf8(input) {
        token(text);
    }
}

/// One token has one spelling: what its parts mean, written again, is the text that came.
fn token(text: &str) {
    let token = match Token::parse(text) {
        Ok(token) => token,
        Err(fault) => return assert_fit_for_a_log(&fault),
    };
    let parts: Vec<_> = text.split('.').collect();
    let [head, payload, signature] = parts.as_slice() else {
        return assert_eq!(parts.len(), 3, "{text}");
    };
    assert_eq!(*payload, URL_SAFE_NO_PAD.encode(&token.payload));
    assert_eq!(*signature, URL_SAFE_NO_PAD.encode(&token.signature));
    assert_eq!(token.signed, format!("{head}.{payload}").as_bytes());
    assert!(!token.payload.is_empty() && !token.signature.is_empty(), "{text}");
    let json = URL_SAFE_NO_PAD.decode(head).unwrap_or_default();
    assert_eq!(*head, URL_SAFE_NO_PAD.encode(&json));
    header(&json);
}

fn policy(members: &Map<String, Value>) -> Option<Policy> {
    if REFUSED.iter().any(|name| members.contains_key(*name)) {
        return None;
    }
    let algorithm = members.get("alg")?.as_str().filter(|name| ALGORITHMS.contains(name))?;
    let key_id = match members.get("kid") {
        None => None,
        Some(id) => Some(id.as_str().filter(|id| id.len() <= 1024)?.to_owned()),
    };
    let is_at_jwt = match members.get("typ").map(|typ| typ.as_str().map(str::to_ascii_lowercase)) {
        None => false,
        Some(typ) => match typ?.as_str() {
            "jwt" => false,
            "at+jwt" | "application/at+jwt" => true,
            _ => return None,
        },
    };
    Some((algorithm.to_owned(), key_id, is_at_jwt))
}
