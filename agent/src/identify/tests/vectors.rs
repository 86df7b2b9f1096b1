//! Project Wycheproof's vectors through the verifier itself: token form and header, key policy, signature.

use super::super::{
    key::Key,
    key_set::{KeySet, Selected},
    token::Token,
};
use super::mint::b64;
use attach_proto::bundle::Algorithm;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// `None`, loudly, where the vectors are not.
pub(super) fn vectors(file: &str) -> Option<Value> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Beside the repository; a linked working tree may lie one folder deeper.
    let places = ["../../shared", "../../../shared"].map(|place| crate_root.join(place));
    let found = places.iter().find_map(|place| fs::read(place.join("vectors/wycheproof").join(file)).ok());
    let Some(bytes) = found else {
        eprintln!("SKIPPED: {file} is not in {}/vectors/wycheproof", places[0].display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

pub(super) fn cases(document: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let groups = document["testGroups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["tests"].as_array().unwrap().iter().map(move |test| (group, test)))
}

/// As `verify` does it, but for the claims: the payloads of these vectors are not claims.
fn accepts(jwks: &Value, jws: &str) -> bool {
    let Ok(keys) = KeySet::parse(jwks.to_string().as_bytes()) else { return false };
    let Ok(token) = Token::parse(jws) else { return false };
    match keys.select(token.header.key_id.as_deref(), token.header.algorithm) {
        Selected::One(key) => key.verify_sig(token.signed, &token.signature).is_ok(),
        Selected::Unknown | Selected::NotForAlgorithm | Selected::Ambiguous => false,
    }
}

fn key_set(group: &Value) -> Value {
    let published = if group["public"].is_null() { &group["private"] } else { &group["public"] };
    if published["keys"].is_array() { published.clone() } else { json!({ "keys": [published] }) }
}

/// Valid by the standard, refused by the policy. Each by its reason.
fn is_refused_on_purpose(group: &Value, test: &Value) -> bool {
    let jws = test["jws"].as_str().unwrap_or_default();
    let header = jws.split('.').next().unwrap_or_default();
    let keys = key_set(group);
    let symmetric = keys["keys"].as_array().unwrap().iter().all(|key| key["kty"] == "oct");
    let encrypted = test["jwe"].is_string();
    // The group of Figure 27 writes its algorithm as "ES521".
    let p521 = keys["keys"][0]["crv"] == "P-521";
    let empty_payload = jws.contains("..");
    // Figure 20: signed by PS384 with a key that says PS256.
    let other_algorithm = keys["keys"][0]["alg"] == "PS256" && header == ps384_header();
    symmetric || encrypted || p521 || empty_payload || other_algorithm
}

fn ps384_header() -> String {
    b64(r#"{"alg":"PS384","kid":"bilbo.baggins@hobbiton.example"}"#)
}

#[test]
fn t2_tokens_of_wycheproof_are_accepted_and_refused_as_marked() {
    // Of each file: its cases, and how many of them are valid and refused on purpose.
    for (file, count, on_purpose) in [
        ("json_web_signature_test.json", 401, 20),
        ("json_web_key_test.json", 26, 4),
        ("json_web_crypto_test.json", 83, 4),
    ] {
        let Some(document) = vectors(file) else { return };
        let (mut seen, mut refused) = (0, 0);
        let mut wrong = Vec::new();
        for (group, test) in cases(&document) {
            seen += 1;
            let token = test["jws"].as_str().or(test["jwe"].as_str());
            // The general JSON form is no bearer token; its text stands for it.
            let token = token.map_or_else(|| test["jws"].to_string(), str::to_owned);
            let accepted = accepts(&key_set(group), &token);
            let valid = test["result"] == "valid";
            let expected = valid && !is_refused_on_purpose(group, test);
            refused += usize::from(valid && !expected);
            if accepted != expected {
                wrong.push(format!(
                    "{} {} {} {}",
                    test["tcId"], group["comment"], test["comment"], test["result"]
                ));
            }
        }
        assert_eq!((seen, refused), (count, on_purpose), "{file}");
        assert!(wrong.is_empty(), "{file}: {wrong:#?}");
    }
}

#[test]
fn t3_raw_signatures_of_wycheproof_are_accepted_and_refused_as_marked() {
    for (file, algorithm, count) in [
        ("ecdsa_secp256r1_sha256_p1363_test.json", Algorithm::Es256, 262),
        ("ecdsa_secp384r1_sha384_p1363_test.json", Algorithm::Es384, 280),
        ("ed25519_test.json", Algorithm::EdDsa, 151),
        ("rsa_signature_2048_sha256_test.json", Algorithm::Rs256, 259),
        ("rsa_pss_2048_sha256_mgf1_32_test.json", Algorithm::Ps256, 108),
    ] {
        let Some(document) = vectors(file) else { return };
        let mut seen = 0;
        for (group, test) in cases(&document) {
            seen += 1;
            let accepted = Key::parse(jwk(group).to_string().as_bytes()).is_ok_and(|key| {
                let verifier = key.verifier(algorithm).unwrap();
                verifier.verify_sig(&bytes(&test["msg"]), &bytes(&test["sig"])).is_ok()
            });
            match test["result"].as_str().unwrap() {
                "valid" => assert!(accepted, "{file} {test}"),
                "invalid" => assert!(!accepted, "{file} {test}"),
                // Old encodings of the padding: either is right, and we take none but the exact one.
                _ => {}
            }
        }
        assert_eq!(seen, count, "{file}");
    }
}

fn jwk(group: &Value) -> Value {
    let key = &group["publicKey"];
    if let Some(point) = key["uncompressed"].as_str() {
        let point = unhex(point);
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let curve = if x.len() == 32 { "P-256" } else { "P-384" };
        return json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)});
    }
    if key["curve"] == "edwards25519" {
        return json!({"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(&key["pk"]))});
    }
    let (n, e) =
        if key.is_null() { (&group["n"], &group["e"]) } else { (&key["modulus"], &key["publicExponent"]) };
    json!({"kty": "RSA", "n": b64(bytes(n)), "e": b64(bytes(e))})
}

pub(super) fn bytes(hex: &Value) -> Vec<u8> {
    unhex(hex.as_str().unwrap())
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}
