//! The keys that an issuer publishes.

use super::{
    super::{
        key::Key,
        key_set::{KeySet, Selected},
    },
    assert_fit_for_a_log,
    written::object,
};
use attach_proto::bundle::Algorithm;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

/// Members of private and of symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

const RSA: [&str; 6] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// A key of nobody: Ed25519's base point.
const ONE_MORE: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"one-more","x":"WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"}"#;

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

pub fn key_set(input: &[u8]) {
    let set = match KeySet::parse(input) {
        Ok(set) => set,
        Err(fault) => return assert_fit_for_a_log(&fault),
    };
    assert!(input.trim_ascii_start().starts_with(b"{"), "no object, and a set of {} keys", set.len());
    let Document { keys: documents } = serde_json::from_slice(input).unwrap();
    assert!((1..=100).contains(&set.len()) && documents.len() <= 100);
    assert_eq!(set.len() + set.skipped().len(), documents.len(), "each key is used, or skipped for a reason");
    let usable: Vec<_> = documents.iter().filter_map(|document| usable(document.get())).collect();
    assert_selects(&set, &usable);

    let texts: Vec<_> = documents.iter().map(|document| document.get()).collect();
    let again = |texts: &[&str]| KeySet::parse(format!("{{\"keys\":[{}]}}", texts.join(",")).as_bytes());
    let reversed: Vec<_> = texts.iter().rev().copied().collect();
    for texts in [&texts, &reversed] {
        let same = again(texts).unwrap();
        assert!(set.same_as(&same) && same.same_as(&set));
        assert_selects(&same, &usable);
    }
    let has_it = usable.iter().any(|(key, _)| key.id.as_deref() == Some("one-more"));
    if documents.len() < 100 && !has_it {
        let more = again(&[&texts[..], &[ONE_MORE]].concat());
        assert!(more.is_ok_and(|more| !set.same_as(&more)), "a key more is another set");
    }
}

/// One key of the list, if it is used at all.
fn usable(text: &str) -> Option<(Key, Map<String, Value>)> {
    let key = match Key::parse(text.as_bytes()) {
        Ok(key) => key,
        Err(fault) => {
            assert_fit_for_a_log(&fault);
            return None;
        }
    };
    let members = object(text.as_bytes())?;
    assert_is_allowed(&key, &members);
    Some((key, members))
}

fn assert_is_allowed(key: &Key, members: &Map<String, Value>) {
    assert!(!PRIVATE.iter().any(|name| members.contains_key(*name)), "{members:?}");
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    assert_eq!(key.id.as_deref(), text("kid"));
    assert!(members.get("use").is_none_or(|purpose| purpose == "sig"), "{members:?}");
    let may_verify = |list: &Value| list.as_array().is_some_and(|list| list.contains(&"verify".into()));
    assert!(members.get("key_ops").is_none_or(may_verify), "{members:?}");

    let decoded =
        |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default();
    let [x, y] = ["x", "y"].map(|name| decoded(name).len());
    let of_its_kind: &[&str] = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            assert_is_rsa(&decoded("n"), &decoded("e"));
            &RSA
        }
        (Some("EC"), Some("P-256")) if (x, y) == (32, 32) => &["ES256"],
        (Some("EC"), Some("P-384")) if (x, y) == (48, 48) => &["ES384"],
        (Some("EC"), Some("P-521")) if (x, y) == (66, 66) => &["ES512"],
        (Some("OKP"), Some("Ed25519")) if x == 32 => &["EdDSA"],
        _ => &[],
    };
    if text("kty") == Some("EC") {
        assert_leaves_its_curve(members, decoded("y"));
    }
    let named = text("alg");
    let mut count = 0;
    for algorithm in Algorithm::ALL.into_iter().chain([Algorithm::Es256K]) {
        let name = algorithm.name();
        let is_due = of_its_kind.contains(&name) && named.is_none_or(|named| named == name);
        assert_eq!(key.verifier(algorithm).is_some(), is_due, "{name} of {members:?}");
        count += usize::from(is_due);
    }
    assert!(count > 0, "it verifies nothing: {members:?}");
}

fn assert_is_rsa(modulus: &[u8], exponent: &[u8]) {
    let value = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    let (modulus, exponent) = (value(modulus), value(exponent));
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    assert!((2048..=8192).contains(&bits), "{bits}");
    assert!(exponent.last().is_some_and(|last| last % 2 == 1) && exponent != [1], "{exponent:?}");
}

/// To one `x` belong two `y`, which differ by more than their last bit.
fn assert_leaves_its_curve(members: &Map<String, Value>, mut y: Vec<u8>) {
    if let Some(last) = y.last_mut() {
        *last ^= 1;
    }
    let mut moved = members.clone();
    moved.insert("y".to_owned(), URL_SAFE_NO_PAD.encode(y).into());
    let moved = Value::Object(moved).to_string();
    assert!(Key::parse(moved.as_bytes()).is_err(), "a point beside its curve: {moved}");
}

/// What the set gives for an id is the one usable key that has it; for none, the one key that fits at all.
fn assert_selects(set: &KeySet, usable: &[(Key, Map<String, Value>)]) {
    let of_id = |id: &str| usable.iter().filter(|(key, _)| key.id.as_deref() == Some(id)).collect::<Vec<_>>();
    let kept = |key: &Key| key.id.as_deref().is_none_or(|id| of_id(id).len() == 1);
    for algorithm in Algorithm::ALL {
        for (key, _) in usable {
            let Some(id) = key.id.as_deref() else { continue };
            match (set.select(Some(id), algorithm), of_id(id).as_slice()) {
                (Selected::One(found), [(only, _)]) => {
                    assert_eq!(only.verifier(algorithm).map(AsRef::as_ref), Some(found.as_ref()));
                }
                (Selected::NotForAlgorithm, [(only, _)]) => assert!(only.verifier(algorithm).is_none()),
                (Selected::Unknown, keys) => assert!(keys.len() > 1, "{id} is there"),
                (other, keys) => assert_eq!(keys.len(), 1, "{other:?}"),
            }
        }
        let mut fitting =
            usable.iter().filter(|(key, _)| kept(key)).filter_map(|(key, _)| key.verifier(algorithm));
        match (set.select(None, algorithm), fitting.next(), fitting.next()) {
            (Selected::One(found), Some(only), None) => assert_eq!(found.as_ref(), only.as_ref()),
            (Selected::Ambiguous, Some(_), Some(_)) | (Selected::Unknown, None, None) => {}
            (other, first, second) => panic!("{other:?} of {first:?} and {second:?}"),
        }
    }
}
