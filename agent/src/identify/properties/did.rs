//! The text of a DID.

use super::{super::did::key, assert_fit_for_a_log};
use attach_proto::did::{Account, Did, KeyKind, MAX_DID_BYTES, Method, PublicKey};
use k256::ecdsa::VerifyingKey;
use url::{Host, Url};

/// Of the text, and of keys and accounts that are made of the bytes: a text that is one by chance is rare.
pub fn did(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        read(text);
    }
    for kind in KeyKind::ALL {
        if let Ok(made) = Did::of_key(kind, input) {
            read(made.as_str());
        }
    }
    if let Some((&address, rest)) = input.split_first_chunk::<20>() {
        let chain = rest.iter().take(8).fold(0, |chain: u64, byte| chain << 8 | u64::from(*byte));
        read(Did::of_account(Account { chain, address }).as_str());
    }
}

fn read(text: &str) {
    let did: Did = match text.parse() {
        Ok(did) => did,
        Err(fault) => return assert_fit_for_a_log(&fault),
    };
    assert!(text.len() <= MAX_DID_BYTES && !text.contains(['#', '?', '/', ';', '@', ' ']), "{text}");
    assert_eq!(did.to_string(), did.as_str());
    assert_eq!(did.as_str().parse().as_ref(), Ok(&did), "{text}");
    // Equal DIDs are equal texts: only the digits of an address may come in another case.
    let is_account = matches!(did.method(), Method::Pkh(_));
    assert!(did.as_str() == text || is_account && did.as_str().eq_ignore_ascii_case(text), "{text}");
    match did.method() {
        Method::Key(public) => assert_key(&did, public),
        Method::Pkh(account) => assert_eq!(Did::of_account(*account), did),
        Method::Web(document) => assert_web(text, document),
    }
}

fn assert_key(did: &Did, public: &PublicKey) {
    let PublicKey { kind, bytes } = public;
    assert_eq!(Did::of_key(*kind, bytes).as_ref(), Ok(did));
    assert_eq!(bytes.len(), if *kind == KeyKind::Ed25519 { 32 } else { 33 });
    // A signature of nobody: 1 and 1 are numbers that a signature may have.
    let mut signature = [0; 64];
    (signature[31], signature[63]) = (1, 1);
    let is_on_its_curve = key::parsed(public).is_ok();
    assert!(!key::verifies(public, b"", &[0; 64]) || *kind == KeyKind::Ed25519);
    if *kind == KeyKind::Secp256k1 {
        assert_eq!(is_on_its_curve, VerifyingKey::from_sec1_bytes(bytes).is_ok(), "{did}");
    }
    assert!(is_on_its_curve || !key::verifies(public, b"", &signature), "{did}");
}

/// The text can be had back from the address, so that no two have one.
fn assert_web(text: &str, document: &Url) {
    assert_eq!(document.scheme(), "https");
    assert!(matches!(document.host(), Some(Host::Domain(name)) if name.contains('.')), "{document}");
    assert!(document.username().is_empty() && document.password().is_none(), "{document}");
    assert!(document.query().is_none() && document.fragment().is_none(), "{document}");
    let host = document.host_str().unwrap_or_default();
    // The port of https does not show in an address.
    let port = document.port().map(|port| format!("%3A{port}"));
    let port = port.or_else(|| text.contains("%3A443").then(|| "%3A443".to_owned())).unwrap_or_default();
    let path = document.path().strip_suffix("/did.json").unwrap_or("not there").replace('/', ":");
    let path = if path == ":.well-known" && !text.ends_with(":.well-known") { String::new() } else { path };
    assert_eq!(text, format!("did:web:{host}{port}{path}"));
}
