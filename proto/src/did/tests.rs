use super::*;
use serde_json::Value;
use std::{fs, path::Path};

/// Of the vectors of the method's specification, with the number zero as its seed.
const ED25519: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
const P256: &str = "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv";
const SECP256K1: &str = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";

fn parse(text: &str) -> Result<Did, InvalidDid> {
    text.parse()
}

/// A `did:key` of these bytes, whatever they are.
fn raw(bytes: &[u8]) -> Result<Did, InvalidDid> {
    parse(&format!("did:key:z{}", bs58::encode(bytes).into_string()))
}

fn key_bytes(text: &str) -> Vec<u8> {
    match parse(text).unwrap().method() {
        Method::Key(key) => key.bytes.clone(),
        Method::Pkh(_) | Method::Web(_) => panic!("{text} is a key"),
    }
}

#[test]
fn a_key_has_one_text_and_a_text_one_key() {
    for (text, kind) in [(ED25519, KeyKind::Ed25519), (P256, KeyKind::P256), (SECP256K1, KeyKind::Secp256k1)]
    {
        let did = parse(text).unwrap();
        let Method::Key(key) = did.method() else { panic!("a key") };
        assert_eq!(key.kind, kind);
        assert_eq!(Did::of_key(kind, &key.bytes).unwrap().as_str(), text);
    }
}

#[test]
fn a_key_in_any_other_form_is_refused_by_what_is_wrong_with_it() {
    let ed = key_bytes(ED25519);
    let point = key_bytes(P256);
    let with = |prefix: &[u8], key: &[u8]| raw(&[prefix, key].concat()).unwrap_err();
    assert!(raw(&[&[0xed, 0x01][..], &ed].concat()).is_ok());
    // The same number in a longer varint.
    assert_eq!(with(&[0xed, 0x81, 0x00], &ed), InvalidDid::KeyKind);
    assert_eq!(with(&[0x80, 0xa4, 0x00], &point), InvalidDid::KeyKind);
    // X25519, BLS12-381, P-384, P-521, RSA, and the private Ed25519 key.
    for codec in [[0xec, 0x01], [0xeb, 0x01], [0x81, 0x24], [0x82, 0x24], [0x85, 0x24], [0x80, 0x26]] {
        assert_eq!(with(&codec, &ed), InvalidDid::KeyKind, "{codec:x?}");
    }
    assert_eq!(with(&[0xed, 0x01], &ed[1..]), InvalidDid::KeyLength { found: 31, expected: 32 });
    assert_eq!(with(&[0xed, 0x01], &point), InvalidDid::KeyLength { found: 33, expected: 32 });
    assert_eq!(with(&[0x80, 0x24], &point[..32]), InvalidDid::KeyLength { found: 32, expected: 33 });
    let uncompressed = [&[4][..], &[7; 64]].concat();
    assert_eq!(with(&[0x80, 0x24], &uncompressed), InvalidDid::NotCompressed);
    assert_eq!(with(&[0xe7, 0x01], &uncompressed), InvalidDid::NotCompressed);
    assert_eq!(with(&[0x80, 0x24], &[&[5][..], &point[1..]].concat()), InvalidDid::NotCompressed);
    assert_eq!(raw(&[0xed]).unwrap_err(), InvalidDid::KeyKind);
    assert_eq!(raw(&[]).unwrap_err(), InvalidDid::KeyKind);
    for (text, expected) in [
        (ED25519.replace(":z6", ":6"), InvalidDid::Base58),
        (ED25519.replace(":z6", ":u6"), InvalidDid::Base58),
        (ED25519.replace("6Mk", "0Mk"), InvalidDid::Base58),
        (format!("{ED25519}#{}", &ED25519[8..]), InvalidDid::NotAlone),
        (format!("{ED25519}?a=b"), InvalidDid::NotAlone),
        (format!("{ED25519}/a"), InvalidDid::NotAlone),
        (ED25519.replace("did:", "DID:"), InvalidDid::NoDid),
        (ED25519.replace(":key:", ":KEY:"), InvalidDid::Method),
        ("did:key".to_owned(), InvalidDid::Method),
        ("did:ion:abc".to_owned(), InvalidDid::Method),
        ("did:".to_owned(), InvalidDid::Method),
        (format!("did:key:z{}", "1".repeat(MAX_DID_BYTES)), InvalidDid::TooLong(MAX_DID_BYTES + 9)),
        (format!(" {ED25519}"), InvalidDid::NoDid),
        (format!("{ED25519} "), InvalidDid::Base58),
    ] {
        assert_eq!(parse(&text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn an_account_is_the_same_in_any_case_of_its_address() {
    let lower = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a";
    let mixed = "did:pkh:eip155:1:0xB9C5714089478a327F09197987f16f9E5d936E8a";
    assert_eq!(parse(mixed).unwrap(), parse(lower).unwrap());
    assert_eq!(parse(mixed).unwrap().as_str(), lower);
    for bad in [
        "did:pkh:eip155:01:0xb9c5714089478a327f09197987f16f9e5d936e8a",
        "did:pkh:eip155:+1:0xb9c5714089478a327f09197987f16f9e5d936e8a",
        "did:pkh:eip155:99999999999999999999:0xb9c5714089478a327f09197987f16f9e5d936e8a",
        "did:pkh:eip155:1:b9c5714089478a327f09197987f16f9e5d936e8a",
        "did:pkh:eip155:1:0Xb9c5714089478a327f09197987f16f9e5d936e8a",
        "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8",
        "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8g",
        "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a:2",
        "did:pkh:eip155:0xb9c5714089478a327f09197987f16f9e5d936e8a",
        "did:pkh:bip122:000000000019d6689c085ae165831e93:128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6",
        "did:pkh:solana:4sGjMW1sUnHzSxGspuhpqLDx6wiyjNtZ:CKg5d12Jhpej1JqtmxLJgaFqqeYjxgPqToJ4LBdvG9Ev",
    ] {
        assert_eq!(parse(bad), Err(InvalidDid::Account), "{bad}");
    }
}

#[test]
fn a_web_did_names_one_document_and_no_address() {
    for (text, expected) in [
        ("did:web:example.com", "https://example.com/.well-known/did.json"),
        ("did:web:example.com:user:alice", "https://example.com/user/alice/did.json"),
        ("did:web:example.com%3A8443", "https://example.com:8443/.well-known/did.json"),
        ("did:web:example.com%3A8443:u", "https://example.com:8443/u/did.json"),
    ] {
        let did = parse(text).unwrap();
        let Method::Web(url) = did.method() else { panic!("{text} is of the web") };
        assert_eq!(url.as_str(), expected);
    }
    for bad in [
        "did:web:",
        "did:web:localhost",
        "did:web:127.0.0.1",
        "did:web:0x7f.1",
        "did:web:2130706433",
        "did:web:[::1]",
        "did:web:Example.com",
        "did:web:example.com.%2e",
        "did:web:user@example.com",
        "did:web:example.com%3a8443",
        "did:web:example.com%3A",
        "did:web:example.com%3A08443",
        "did:web:example.com%3A99999",
        "did:web:example.com:",
        "did:web:example.com::a",
        "did:web:example.com:..:a",
        "did:web:example.com:%2e%2e",
        "did:web:exämple.com",
    ] {
        assert_eq!(parse(bad), Err(InvalidDid::Web), "{bad}");
    }
}

/// `None`, loudly, where the vectors are not.
fn vectors(file: &str) -> Option<Value> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../../shared", "../../../shared"].map(|place| crate_root.join(place));
    let found = places.iter().find_map(|place| fs::read(place.join("vectors").join(file)).ok());
    let Some(bytes) = found else {
        eprintln!("SKIPPED: {file} is not in {}/vectors", places[0].display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// The public key of a vector, in the form in which a DID has it; `None` for a kind that is not verified here.
fn published(vector: &Value) -> Option<Vec<u8>> {
    let method = ["verificationKeyPair", "verificationMethod"].map(|name| &vector[name]);
    let method = method.into_iter().find(|it| it.is_object())?;
    if let Some(key) = method["publicKeyBase58"].as_str() {
        return bs58::decode(key).into_vec().ok();
    }
    let jwk = &method["publicKeyJwk"];
    let decode = |name: &str| {
        // base64url by hand: this crate has no other use for it.
        let text = jwk[name].as_str()?;
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits: String = text
            .bytes()
            .map(|c| alphabet.iter().position(|it| *it == c).map(|value| format!("{value:06b}")))
            .collect::<Option<_>>()?;
        let whole = bits.len() / 8;
        Some((0..whole).map(|i| u8::from_str_radix(&bits[8 * i..8 * i + 8], 2).unwrap()).collect::<Vec<u8>>())
    };
    match jwk["crv"].as_str()? {
        "Ed25519" => decode("x"),
        "P-256" | "secp256k1" => Some([vec![2 + (decode("y")?.last()? & 1)], decode("x")?].concat()),
        _ => None,
    }
}

#[test]
fn k7_keys_of_the_methods_own_vectors_are_read_as_published() {
    for (file, read, refused) in [
        ("ed25519-x25519.json", 5, 0),
        ("secp256k1.json", 6, 0),
        // P-384 and P-521 are not verified here.
        ("nist-curves.json", 3, 4),
        ("rsa.json", 0, 2),
        ("x25519.json", 0, 4),
    ] {
        let Some(document) = vectors(&format!("did-key/{file}")) else { return };
        let listed = if file == "x25519.json" { &document["didDocument"] } else { &document };
        let mut counts = (0, 0);
        for (text, vector) in listed.as_object().unwrap() {
            match parse(text) {
                Ok(did) => {
                    counts.0 += 1;
                    let Method::Key(key) = did.method() else { panic!("{text}") };
                    assert_eq!(Some(&key.bytes), published(vector).as_ref(), "{text}");
                }
                Err(InvalidDid::KeyKind | InvalidDid::TooLong(_)) => counts.1 += 1,
                Err(error) => panic!("{text}: {error}"),
            }
        }
        assert_eq!(counts, (read, refused), "{file}");
    }
}

#[test]
fn k7_accounts_of_the_methods_own_vectors_are_read_where_they_are_of_ethereum() {
    let Some(document) = vectors("did-pkh/did-pkh-documents.json") else { return };
    let mut read = 0;
    for text in document.as_object().unwrap().keys() {
        match parse(text) {
            Ok(did) => {
                read += 1;
                assert_eq!(did.as_str(), text);
            }
            Err(error) => {
                assert_eq!((error, text.contains(":eip155:")), (InvalidDid::Account, false), "{text}")
            }
        }
    }
    assert_eq!(read, 3);
}
