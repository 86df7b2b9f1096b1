//! `KEYS_FILE` as users of Ollama Auth Proxy have it: `{"keys": ["sk-…", …]}`.

use super::file::{FileFault, read_text};
use attach_proto::v1;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use std::{fmt::Write as _, path::Path};

/// A shorter key can be guessed: sixteen characters of base64 are 96 bits. It is taken, because existing files have
/// such keys, and told of.
const GOOD_KEY_CHARACTERS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: Vec<String>,
}

/// The keys, hashed. Each is named after the first digits of its hash, so that it keeps its name when the list is
/// edited, and usage can be told apart by key.
pub(super) fn read(path: &Path, bundle: &v1::Bundle) -> Result<Vec<v1::ApiKey>, FileFault> {
    let text = read_text(path)?;
    let malformed =
        |field: String, problem: String| FileFault::Malformed { path: path.to_owned(), field, problem };
    let mut json = serde_json::Deserializer::from_str(&text);
    let file: KeysFile = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        malformed(error.path().to_string(), format!("{}; write {{\"keys\": [\"sk-…\"]}}", error.inner()))
    })?;
    json.end().map_err(|error| malformed("at the end".to_owned(), error.to_string()))?;
    let tenant = bundle.tenants.first().map(|tenant| tenant.id.clone()).unwrap_or_default();
    let mut keys: Vec<v1::ApiKey> = Vec::with_capacity(file.keys.len());
    for (index, key) in file.keys.iter().enumerate() {
        let field = || format!("keys[{index}]");
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(malformed(
                field(),
                "must be printable ASCII without white space, to fit a header".to_owned(),
            ));
        }
        if key.len() < GOOD_KEY_CHARACTERS {
            tracing::warn!(
                "{}: {} is shorter than {GOOD_KEY_CHARACTERS} characters",
                path.display(),
                field()
            );
        }
        let sha256 = hexadecimal(digest(&SHA256, key.as_bytes()).as_ref());
        if keys.iter().any(|earlier| earlier.sha256 == sha256) {
            // Twice the same key means the same as once; the incumbent takes it, so do we.
            continue;
        }
        let id = format!("key-{}", sha256.get(..12).unwrap_or_default());
        keys.push(v1::ApiKey { id, tenant: tenant.clone(), sha256, ..Default::default() });
    }
    Ok(keys)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(text: &str) -> Result<Vec<v1::ApiKey>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        std::fs::write(&path, text).unwrap();
        read(&path, &v1::Bundle::default()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn keys_are_hashed_and_named_by_their_hash() {
        let keys = read_json(r#"{"keys": ["sk-abcdefgh", "sk-abcdefgh", "another-key"]}"#).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].sha256.len(), 64);
        assert!(keys[0].id.starts_with("key-"));
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_without_the_key() {
        let error = read_json(r#"{"keys": ["sk-abcdefgh", "hunter two"]}"#).unwrap_err();
        assert!(error.contains("keys[1]") && !error.contains("hunter two"), "{error}");
        for bad in [
            "",
            "[]",
            r#"{"keys": "sk-abcdefgh"}"#,
            r#"{"kees": []}"#,
            r#"{"keys": [1]}"#,
            r#"{"keys": []} x"#,
        ] {
            assert!(read_json(bad).is_err(), "{bad}");
        }
    }
}
