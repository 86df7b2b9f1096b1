//! A caller's proof that it has the key of its token, made for one request (DPoP, RFC 9449 section 4.3).

use super::{fault::IdentityFault, json::parse_object, key::Key, token::Compact, used::UsedProofs};
use attach_proto::{bundle::Algorithm, id::TenantId};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, header, request::Parts};
use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// A proof with an RSA key of 4096 bits has 2 KiB.
const MAX_PROOF_BYTES: usize = 8 * 1024;

/// How far `iat` may lie from the clock here, either way: proofs are made for the request that they come with (section
/// 11.1), and clocks of callers are a few seconds off.
const MAX_DISTANCE_MS: i64 = 30_000;

/// A UUID has 36.
const MAX_ID_BYTES: usize = 128;

/// # Errors
/// The first rule that the request's proof breaks, in the order of section 4.3.
pub(super) fn check_proof(
    thumbprint: &str,
    token: &[u8],
    head: &Parts,
    ends_tls: bool,
    tenant: &TenantId,
    used: &UsedProofs,
    now: Timestamp,
) -> Result<(), IdentityFault> {
    let fault = |problem| IdentityFault::DpopProof(problem);
    let proof = Compact::split(only(&head.headers)?).map_err(|_| fault("is no signed token"))?;
    let signature = proof.signature().map_err(|_| fault("has a signature that is none"))?;
    let payload = proof.payload().map_err(|_| fault("has claims that are none"))?;
    let header =
        parse_object(&proof.header).map_err(|_| fault("has a header that is no plain JSON object"))?;
    let (jwk, algorithm) = read_header(&header)?;
    let key = Key::parse(Value::Object(jwk.clone()).to_string().as_bytes())
        .map_err(|_| fault("has a key that can't be used"))?;
    let verifier = key.verifier(algorithm).ok_or_else(|| fault("has a key that is not for its algorithm"))?;
    if verifier.verify_sig(proof.signed, &signature).is_err() {
        return Err(fault("is not signed with its own key"));
    }
    let claims = parse_object(&payload).map_err(|_| fault("has claims that are no plain JSON object"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("htm") != Some(head.method.as_str()) {
        return Err(fault("is for another method"));
    }
    if !text("htu").is_some_and(|htu| is_target(htu, head, ends_tls)) {
        return Err(fault("is for another address"));
    }
    let issued = claims.get("iat").and_then(Value::as_i64).and_then(|seconds| seconds.checked_mul(1000));
    let issued = issued.ok_or_else(|| fault("has no time"))?;
    let valid_until = issued.saturating_add(MAX_DISTANCE_MS);
    // Not at the end itself: what was used is remembered up to it.
    if issued.abs_diff(now.as_millisecond()) >= MAX_DISTANCE_MS.unsigned_abs() {
        return Err(fault("is of another time"));
    }
    let id = text("jti").filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES);
    let id = id.ok_or_else(|| fault("has no id"))?;
    if text("ath") != Some(hash(token).as_str()) {
        return Err(fault("is for another token"));
    }
    if hash(canonical(jwk).as_bytes()) != thumbprint {
        return Err(fault("is of another key than the token's"));
    }
    used.use_up(tenant, thumbprint, id, issued, valid_until, now).map_err(IdentityFault::of_dpop_proof)
}

fn only(headers: &HeaderMap) -> Result<&str, IdentityFault> {
    let mut proofs = headers.get_all(DPOP).iter();
    let proof = match (proofs.next(), proofs.next()) {
        (Some(proof), None) => proof,
        (None, _) => return Err(IdentityFault::DpopProof("is missing")),
        (Some(_), Some(_)) => return Err(IdentityFault::DpopProof("is there more than once")),
    };
    if proof.len() > MAX_PROOF_BYTES {
        return Err(IdentityFault::DpopProof("is larger than 8 KiB"));
    }
    proof.to_str().map_err(|_| IdentityFault::DpopProof("is no text"))
}

/// Its key and algorithm. No member is passed over that would change how it is read.
fn read_header(header: &Map<String, Value>) -> Result<(&Map<String, Value>, Algorithm), IdentityFault> {
    let fault = |problem| IdentityFault::DpopProof(problem);
    let typ = header.get("typ").and_then(Value::as_str);
    if !typ.is_some_and(|typ| typ.eq_ignore_ascii_case("dpop+jwt")) {
        return Err(fault("has another type than dpop+jwt"));
    }
    let strange = ["crit", "b64", "zip", "cty", "enc", "jku", "x5u", "x5c"];
    if strange.iter().any(|name| header.contains_key(*name)) {
        return Err(fault("has a header that is not understood here"));
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
    let algorithm = algorithm.ok_or_else(|| fault("has an algorithm that is not allowed"))?;
    let jwk = header.get("jwk").and_then(Value::as_object).ok_or_else(|| fault("does not bring its key"))?;
    Ok((jwk, algorithm))
}

/// Whether this is the request's own address, query and fragment left out. Who ends TLS before us says `https` of what
/// reaches us without; over the network itself, and where TLS ends here, nothing else is taken.
fn is_target(htu: &str, head: &Parts, ends_tls: bool) -> bool {
    let Ok(url) = Url::parse(htu) else { return false };
    let host = head.uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| head.headers.get(header::HOST)?.to_str().ok());
    let of_request =
        host.and_then(|host| Url::parse(&format!("{}://{host}{}", url.scheme(), head.uri.path())).ok());
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url) && !ends_tls);
    let same = |other: &Url| {
        url.host() == other.host()
            && url.port_or_known_default() == other.port_or_known_default()
            && url.path() == other.path()
    };
    is_safe && url.username().is_empty() && of_request.as_ref().is_some_and(same)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What the thumbprint of a key is made of (RFC 7638 section 3.2): its required members, in this order. Their values are
/// base64url, or names that were compared, so nothing is to be escaped.
fn canonical(jwk: &Map<String, Value>) -> String {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    let names: &[&str] = match member("kty") {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        _ => &["crv", "kty", "x"],
    };
    let members: Vec<_> = names.iter().map(|name| format!("\"{name}\":\"{}\"", member(name))).collect();
    format!("{{{}}}", members.join(","))
}

fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_one_of_the_standard() {
        // RFC 7638 section 3.1.
        let jwk = serde_json::json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        let canonical = canonical(jwk.as_object().unwrap());
        assert_eq!(hash(canonical.as_bytes()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
