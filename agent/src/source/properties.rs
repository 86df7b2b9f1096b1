//! What the reader of `KEYS_FILE` promises of any text.

#![expect(clippy::unwrap_used, reason = "a promise that is broken is told by a panic")]

use super::keys_file::parse;
use attach_proto::v1;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use std::{collections::HashSet, path::Path};

/// In the place of a key it must not come back in an error. No error's own words have it.
const CANARY: &str = "hunter2hunter2";

pub fn keys_file(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let tenant = v1::Tenant { id: "default".to_owned(), ..v1::Tenant::default() };
    let bundle = v1::Bundle { tenants: vec![tenant], ..v1::Bundle::default() };
    let keys = match parse(text, Path::new("keys.json"), &bundle) {
        Ok(keys) => keys,
        Err(fault) => {
            let said = fault.to_string();
            assert!(said.starts_with("keys.json: ") && !said.contains(CANARY), "{said}");
            return;
        }
    };
    let file: Value = serde_json::from_str(text).unwrap();
    let members = file.as_object().unwrap();
    let listed = members["keys"].as_array().unwrap();
    assert!(members.len() == 1 && keys.len() <= listed.len());

    let hashes: HashSet<_> = keys.iter().map(|key| key.sha256.as_str()).collect();
    let ids: HashSet<_> = keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!((hashes.len(), ids.len()), (keys.len(), keys.len()), "one key twice, or one id for two");
    let is_hash =
        |text: &str| text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    assert!(hashes.iter().all(|hash| is_hash(hash)), "{hashes:?}");
    assert!(keys.iter().all(|key| key.tenant == "default"));
    // Each of the list is there by its hash, and each that is there was listed.
    let due: HashSet<_> = listed.iter().map(hash_of).collect();
    assert_eq!(due, hashes.iter().map(|hash| (*hash).to_owned()).collect());
}

fn hash_of(listed: &Value) -> String {
    if let Some(hash) = listed.get("sha256").and_then(Value::as_str) {
        return hash.to_ascii_lowercase();
    }
    let key = listed.as_str().or_else(|| listed["key"].as_str()).unwrap();
    assert!(
        !key.is_empty() && key.bytes().all(|c| c.is_ascii_graphic() && c != b','),
        "no header has {key:?}"
    );
    digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
