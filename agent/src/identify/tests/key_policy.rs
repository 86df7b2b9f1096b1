//! Which keys of a published set are used.

use super::super::{
    key::{Key, KeyFault},
    key_set::{KeySet, KeySetFault, Selected},
};
use super::mint::{TestKey, b64};
use attach_proto::bundle::Algorithm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

fn with(key: &TestKey, name: &str, value: Value) -> Value {
    let mut jwk = key.jwk();
    jwk[name] = value;
    jwk
}

#[test]
fn a_key_that_may_not_verify_is_refused_for_its_own_reason_and_its_twin_is_not() {
    let (rsa, p256, p384, ed) =
        (TestKey::rsa("r"), TestKey::p256("p"), TestKey::p384("q"), TestKey::ed25519("e"));
    let modulus = |bytes: usize, last: u8| {
        let mut n = vec![0xc5; bytes];
        n[bytes - 1] = last;
        json!(b64(n))
    };
    let off_curve = with(&p256, "y", TestKey::p256("other").jwk()["y"].clone());
    // The same bytes of the point, parted elsewhere; the same key, wrapped as a certificate wraps it.
    let parted_elsewhere = {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(p256.jwk()[name].as_str().unwrap()).unwrap();
        let point = [part("x"), part("y")].concat();
        let mut jwk = with(&p256, "x", json!(b64(&point[..31])));
        jwk["y"] = json!(b64(&point[31..]));
        jwk
    };
    let wrapped = {
        let x = URL_SAFE_NO_PAD.decode(ed.jwk()["x"].as_str().unwrap()).unwrap();
        let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        with(&ed, "x", json!(b64([&prefix[..], &x].concat())))
    };
    let cases: Vec<(&str, Value, Result<(), KeyFault>)> = vec![
        ("RSA", rsa.jwk(), Ok(())),
        ("P-256", p256.jwk(), Ok(())),
        ("P-384", p384.jwk(), Ok(())),
        ("Ed25519", ed.jwk(), Ok(())),
        ("oct", json!({"kty": "oct", "k": "AAAA"}), Err(KeyFault::Symmetric)),
        ("no kty", json!({"n": "AQAB"}), Err(KeyFault::Member("kty"))),
        ("private RSA", with(&rsa, "d", json!("AQAB")), Err(KeyFault::Private("d"))),
        ("private EC", with(&p256, "d", json!("AQAB")), Err(KeyFault::Private("d"))),
        ("private p", with(&rsa, "p", json!("AQAB")), Err(KeyFault::Private("p"))),
        ("private q", with(&rsa, "q", json!("AQAB")), Err(KeyFault::Private("q"))),
        ("private dp", with(&rsa, "dp", json!("AQAB")), Err(KeyFault::Private("dp"))),
        ("private dq", with(&rsa, "dq", json!("AQAB")), Err(KeyFault::Private("dq"))),
        ("private qi", with(&rsa, "qi", json!("AQAB")), Err(KeyFault::Private("qi"))),
        ("private oth", with(&rsa, "oth", json!([])), Err(KeyFault::Private("oth"))),
        ("k of another kind", with(&rsa, "k", json!("AQAB")), Err(KeyFault::Private("k"))),
        ("crv number", with(&p256, "crv", json!(7)), Err(KeyFault::Member("crv"))),
        ("no key at all", json!(7), Err(KeyFault::NotAnObject)),
        ("a list", json!([rsa.jwk()]), Err(KeyFault::NotAnObject)),
        ("no n", json!({"kty": "RSA", "e": "AQAB"}), Err(KeyFault::Member("n"))),
        ("long y", with(&p256, "y", json!(b64([1; 33]))), Err(KeyFault::Invalid)),
        ("alg number", with(&rsa, "alg", json!(7)), Err(KeyFault::Member("alg"))),
        ("EC of kty RSA", with(&p256, "kty", json!("RSA")), Err(KeyFault::Member("n"))),
        ("P-256 of kty OKP", with(&p256, "kty", json!("OKP")), Err(KeyFault::Kind)),
        ("P-384 of kty OKP", with(&p384, "kty", json!("OKP")), Err(KeyFault::Kind)),
        ("use enc", with(&rsa, "use", json!("enc")), Err(KeyFault::Use)),
        ("use number", with(&rsa, "use", json!(1)), Err(KeyFault::Member("use"))),
        ("key_ops verify", with(&rsa, "key_ops", json!(["verify"])), Ok(())),
        ("key_ops encrypt", with(&rsa, "key_ops", json!(["encrypt"])), Err(KeyFault::Operations)),
        ("key_ops empty", with(&rsa, "key_ops", json!([])), Err(KeyFault::Operations)),
        ("key_ops text", with(&rsa, "key_ops", json!("verify")), Err(KeyFault::Operations)),
        ("alg its own", with(&rsa, "alg", json!("PS256")), Ok(())),
        ("alg RSA-OAEP", with(&rsa, "alg", json!("RSA-OAEP")), Err(KeyFault::Algorithm)),
        ("alg HS256", with(&rsa, "alg", json!("HS256")), Err(KeyFault::Algorithm)),
        ("alg of another curve", with(&p256, "alg", json!("ES384")), Err(KeyFault::Algorithm)),
        ("crv of another size", with(&p256, "crv", json!("P-384")), Err(KeyFault::Invalid)),
        ("crv secp256k1", with(&p256, "crv", json!("secp256k1")), Err(KeyFault::Kind)),
        ("crv X25519", with(&ed, "crv", json!("X25519")), Err(KeyFault::Kind)),
        ("kty unknown", with(&ed, "kty", json!("AKP")), Err(KeyFault::Kind)),
        ("off the curve", off_curve, Err(KeyFault::Invalid)),
        ("short coordinate", with(&p256, "x", json!(b64([1; 31]))), Err(KeyFault::Invalid)),
        ("short Ed25519", with(&ed, "x", json!(b64([1; 31]))), Err(KeyFault::Invalid)),
        ("coordinates parted elsewhere", parted_elsewhere, Err(KeyFault::Invalid)),
        ("wrapped Ed25519", wrapped, Err(KeyFault::Invalid)),
        ("ROCA", with(&rsa, "n", json!(b64(roca_modulus(1)))), Err(KeyFault::Roca)),
        ("no ROCA", with(&rsa, "n", json!(b64(roca_modulus(3)))), Ok(())),
        ("2048 bits", with(&rsa, "n", modulus(256, 0x11)), Ok(())),
        ("2047 bits", with(&rsa, "n", json!(b64(halved(256)))), Err(KeyFault::ModulusSize(2047))),
        ("2040 bits", with(&rsa, "n", modulus(255, 0x11)), Err(KeyFault::ModulusSize(2040))),
        ("8200 bits", with(&rsa, "n", modulus(1025, 0x11)), Err(KeyFault::ModulusSize(8200))),
        ("e 1", with(&rsa, "e", json!("AQ")), Err(KeyFault::Exponent)),
        ("e 2", with(&rsa, "e", json!("Ag")), Err(KeyFault::Exponent)),
        ("e 65536", with(&rsa, "e", json!("AQAA")), Err(KeyFault::Exponent)),
        ("e empty", with(&rsa, "e", json!("")), Err(KeyFault::Exponent)),
        ("e 3", with(&rsa, "e", json!("Aw")), Ok(())),
        ("padded number", with(&rsa, "e", json!("AQAB==")), Err(KeyFault::Member("e"))),
        ("kid number", with(&rsa, "kid", json!(1)), Err(KeyFault::Member("kid"))),
        ("kid as long as may be", with(&rsa, "kid", json!("k".repeat(1024))), Ok(())),
        ("kid too long", with(&rsa, "kid", json!("k".repeat(1025))), Err(KeyFault::IdTooLong)),
    ];
    for (name, jwk, expected) in cases {
        let parsed = Key::parse(jwk.to_string().as_bytes()).map(|_| ());
        assert_eq!(parsed, expected, "{name}");
    }
    let twice = format!("{{\"kty\":\"oct\",{}", &rsa.jwk().to_string()[1..]);
    assert_eq!(Key::parse(twice.as_bytes()).unwrap_err(), KeyFault::NotAnObject);
}

/// One bit less than these bytes have.
fn halved(bytes: usize) -> Vec<u8> {
    let mut modulus = vec![0x65; bytes];
    modulus[bytes - 1] = 0x11;
    modulus
}

/// A multiple of the small primes, and `rest`: 1 is a power of 65537 modulo each of them, 3 is not modulo 3.
fn roca_modulus(rest: u8) -> Vec<u8> {
    let is_prime = |n: &u32| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
    let mut modulus = vec![1_u8];
    for prime in (3..=167_u32).filter(is_prime) {
        let mut carry = 0;
        for byte in modulus.iter_mut().rev() {
            carry += u32::from(*byte) * prime;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry > 0 {
            modulus.insert(0, u8::try_from(carry).unwrap());
        }
    }
    modulus.resize(257, 0);
    modulus[256] = rest;
    modulus
}

#[test]
fn a_key_that_names_its_algorithm_verifies_no_other() {
    let named = Key::parse(with(&TestKey::rsa("r"), "alg", json!("PS256")).to_string().as_bytes()).unwrap();
    assert!(named.verifier(Algorithm::Ps256).is_some());
    assert!(named.verifier(Algorithm::Rs256).is_none());
    let unnamed = Key::parse(TestKey::rsa("r").jwk().to_string().as_bytes()).unwrap();
    assert!(unnamed.verifier(Algorithm::Rs256).is_some());
    assert!(unnamed.verifier(Algorithm::Es256).is_none());
}

fn set(keys: &[Value]) -> Result<KeySet, KeySetFault> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn one_bad_key_leaves_the_others_in_use() {
    let good = TestKey::p256("good");
    let future = json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq-1"});
    let set = set(&[future, json!(7), good.jwk(), json!({})]).unwrap();
    let named: Vec<_> = set.skipped().iter().map(|it| it.id.as_ref().map(ToString::to_string)).collect();
    assert_eq!((set.len(), named), (1, vec![Some("\"pq-1\"".to_owned()), None, None]));
    assert!(matches!(set.select(Some("good"), Algorithm::Es256), Selected::One(_)));
}

#[test]
fn an_id_that_two_keys_share_names_neither() {
    let (a, b, c) = (TestKey::p256("same"), TestKey::p256("same"), TestKey::p256("own"));
    let set = set(&[a.jwk(), b.jwk(), c.jwk()]).unwrap();
    assert!(matches!(set.select(Some("same"), Algorithm::Es256), Selected::Unknown));
    assert!(matches!(set.select(Some("own"), Algorithm::Es256), Selected::One(_)));
    assert_eq!(set.skipped().len(), 2);
}

#[test]
fn a_token_that_names_no_key_gets_the_only_one_that_fits() {
    let (a, b, rsa) = (TestKey::p256("a"), TestKey::p256("b"), TestKey::rsa("r"));
    let one = set(&[a.jwk(), rsa.jwk()]).unwrap();
    assert!(matches!(one.select(None, Algorithm::Es256), Selected::One(_)));
    assert!(matches!(one.select(None, Algorithm::EdDsa), Selected::Unknown));
    let two = set(&[a.jwk(), b.jwk()]).unwrap();
    assert!(matches!(two.select(None, Algorithm::Es256), Selected::Ambiguous));
}

#[test]
fn what_is_no_set_of_usable_keys_is_refused_whole() {
    let key = TestKey::p256("k").jwk();
    assert!(matches!(set(&[]), Err(KeySetFault::NoneUsable(0, None))));
    assert!(matches!(set(&[json!({"kty": "oct"})]), Err(KeySetFault::NoneUsable(1, Some(_)))));
    let numbered = |count: usize| {
        (0..count).map(|i| with(&TestKey::ed25519("x"), "kid", json!(i.to_string()))).collect::<Vec<_>>()
    };
    assert_eq!(set(&numbered(100)).unwrap().len(), 100);
    assert!(matches!(set(&numbered(101)), Err(KeySetFault::TooMany(101))));
    let twice = format!(r#"{{"keys":[],"keys":[{key}]}}"#);
    // Without the object around it, the value in its place.
    let bare = format!("[[{key}]]");
    for text in ["[]", "{}", "<html>", "", r#"{"keys":{}}"#, &twice, &bare] {
        assert!(matches!(KeySet::parse(text.as_bytes()), Err(KeySetFault::NotAKeySet(_))), "{text:.40}");
    }
}

#[test]
fn a_set_is_the_same_in_another_order_and_another_when_a_key_changes() {
    let (a, b) = (TestKey::p256("a"), TestKey::ed25519("b"));
    let ab = set(&[a.jwk(), b.jwk()]).unwrap();
    assert!(ab.same_as(&set(&[b.jwk(), a.jwk()]).unwrap()));
    assert!(ab.same_as(&set(&[b.jwk(), json!({"kty": "oct"}), a.jwk()]).unwrap()));
    assert!(!ab.same_as(&set(&[a.jwk()]).unwrap()));
    assert!(!ab.same_as(&set(&[a.jwk(), TestKey::ed25519("b").jwk()]).unwrap()));
    assert!(!ab.same_as(&set(&[a.jwk(), with(&b, "kid", json!("c"))]).unwrap()));
    // The same numbers for another algorithm are another key.
    let named = |algorithm: &str| set(&[with(&TestKey::rsa("r"), "alg", json!(algorithm))]).unwrap();
    assert!(named("RS256").same_as(&named("RS256")));
    assert!(!named("RS256").same_as(&named("RS384")));
}
