//! `KEYS_FILE`: as users of Ollama Auth Proxy have it, `{"keys": ["sk-…", …]}`, or with more said of a key:
//!
//! ```json
//! {"keys": ["sk-…",
//!           {"id": "ci", "key": "sk-…", "owner": "ada", "groups": ["staff"], "models": ["llama3"],
//!            "expires_at": "2027-01-31T00:00:00Z"},
//!           {"name": "Open WebUI", "sha256": "…", "scopes": ["inference", "act_as"]}]}
//! ```
//!
//! No error shows what stands in the file, but for names that we gave: a key in a wrong place is still one.

use super::file::{FileFault, read_text};
use attach_proto::{bundle::ApiKey, key_text, timestamp, v1};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_path_to_error::Segment;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    fmt::Write as _,
    path::Path,
};

/// A shorter key can be guessed: sixteen characters of base64 are 96 bits. It is taken, because existing files have
/// such keys, and told of.
const GOOD_KEY_CHARACTERS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: Vec<Listed>,
}

/// What is said of a key: all that a bundle can say, and a name for whoever reads the file. Of an element that is a text,
/// the key alone.
#[derive(Deserialize, PartialEq, Default)]
#[serde(deny_unknown_fields, default, remote = "Self")]
struct Listed {
    id: String,
    name: String,
    key: Option<String>,
    sha256: Option<String>,
    owner: String,
    groups: Vec<String>,
    scopes: Vec<String>,
    models: Vec<String>,
    expires_at: Option<String>,
}

/// By hand, because what serde derives for "either" loses the place of a mistake.
impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrObject;

        impl<'de> Visitor<'de> for TextOrObject {
            type Value = Listed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key, or an object with one")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Listed, E> {
                Ok(Listed { key: Some(key.to_owned()), ..Listed::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Listed, A::Error> {
                Listed::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_any(TextOrObject)
    }
}

/// What can't be, and of which member; an empty one is the element as a whole.
struct Wrong {
    field: String,
    problem: String,
}

impl Wrong {
    fn new(field: &str, problem: &str) -> Self {
        Self { field: field.to_owned(), problem: problem.to_owned() }
    }
}

/// The keys, hashed. One without an id is named after the first digits of its hash, so that it keeps its name when the list
/// is edited, and usage can be told apart by key.
pub(super) fn read(path: &Path, bundle: &v1::Bundle) -> Result<Vec<v1::ApiKey>, FileFault> {
    parse(&read_text(path)?, path, bundle)
}

pub(super) fn parse(text: &str, path: &Path, bundle: &v1::Bundle) -> Result<Vec<v1::ApiKey>, FileFault> {
    let malformed =
        |field: String, problem: String| FileFault::Malformed { path: path.to_owned(), field, problem };
    // The derived reader would take a list of the object's values, too.
    if text.trim_ascii_start().starts_with('[') {
        return Err(malformed(
            "at the top".to_owned(),
            "expected an object; write {\"keys\": [\"sk-…\"]}".to_owned(),
        ));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let file: KeysFile = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let problem = without_content(error.inner());
        malformed(place(&error), format!("{problem}; write {{\"keys\": [\"sk-…\"]}}"))
    })?;
    json.end().map_err(|error| malformed("at the end".to_owned(), error.to_string()))?;
    let tenant = bundle.tenants.first().map(|tenant| tenant.id.clone()).unwrap_or_default();
    let mut keys: Vec<v1::ApiKey> = Vec::with_capacity(file.keys.len());
    let mut places = HashMap::with_capacity(file.keys.len());
    let mut ids = HashSet::with_capacity(file.keys.len());
    for (index, listed) in file.keys.iter().enumerate() {
        let wrong = |Wrong { field, problem }| {
            let dot = if field.is_empty() { "" } else { "." };
            malformed(format!("keys[{index}]{dot}{field}"), problem)
        };
        let key = listed.hashed(&tenant).map_err(wrong)?;
        match places.insert(key.sha256.clone(), listed) {
            None => {}
            // Twice the same means the same as once; the incumbent takes it, so do we.
            Some(earlier) if earlier == listed => continue,
            Some(_) => {
                return Err(wrong(Wrong::new("", "is an earlier key, of which other things are said")));
            }
        }
        if !ids.insert(key.id.clone()) {
            return Err(wrong(Wrong::new("id", "is the id of an earlier key")));
        }
        if listed.key.as_ref().is_some_and(|key| key.len() < GOOD_KEY_CHARACTERS) {
            let path = path.display();
            tracing::warn!("{path}: keys[{index}] is shorter than {GOOD_KEY_CHARACTERS} characters");
        }
        keys.push(key);
    }
    Ok(keys)
}

impl Listed {
    fn hashed(&self, tenant: &str) -> Result<v1::ApiKey, Wrong> {
        let Self { id, name: _, key, sha256, owner, groups, scopes, models, expires_at } = self;
        let sha256 = match (key, sha256) {
            (Some(key), None) => {
                check_text(key)?;
                hexadecimal(digest(&SHA256, key.as_bytes()).as_ref())
            }
            (None, Some(sha256)) => sha256.to_ascii_lowercase(),
            (Some(_), Some(_)) => return Err(Wrong::new("", "has both key and sha256; one is enough")),
            (None, None) => return Err(Wrong::new("", "needs a key, or its sha256")),
        };
        let moment = |text: &String| {
            let problem = "must be a time such as 2027-01-31T00:00:00Z";
            text.parse().map(timestamp).map_err(|_| Wrong::new("expires_at", problem))
        };
        let wire = v1::ApiKey {
            id: match id.as_str() {
                "" => format!("key-{}", sha256.get(..12).unwrap_or_default()),
                id => id.to_owned(),
            },
            tenant: tenant.to_owned(),
            sha256,
            owner: owner.clone(),
            groups: groups.clone(),
            scopes: scopes.clone(),
            models: models.clone(),
            expires_at: expires_at.as_ref().map(moment).transpose()?,
            ..Default::default()
        };
        // Here, where its place in the file is still known.
        match ApiKey::try_from(wire.clone()) {
            Ok(_) => Ok(wire),
            Err(invalid) => Err(Wrong { field: invalid.path, problem: invalid.problem }),
        }
    }
}

fn check_text(key: &str) -> Result<(), Wrong> {
    // A comma would divide two credentials.
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic() && c != ',') {
        let problem = "must be printable ASCII without white space and commas, to fit a header";
        return Err(Wrong::new("", problem));
    }
    if key_text::claims_to_be_key(key.as_bytes()) && !key_text::has_form(key.as_bytes()) {
        let problem = "begins like a key of Attach Gateway and is not whole; copy it again, all of it";
        return Err(Wrong::new("", problem));
    }
    Ok(())
}

/// A name that is not known is one of the file's.
fn place(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let is_unknown = error.inner().to_string().starts_with("unknown field");
    let segments: Vec<_> = error.path().iter().collect();
    let known = segments.get(..segments.len().saturating_sub(is_unknown.into())).unwrap_or_default();
    let mut place = String::new();
    for segment in known {
        if !place.is_empty() && !matches!(segment, Segment::Seq { .. }) {
            place.push('.');
        }
        // Writing to a String cannot fail.
        let _ = write!(place, "{segment}");
    }
    if place.is_empty() { "at the top".to_owned() } else { place }
}

/// What serde says of a mistake ends with what it expected; before that it may quote what it found.
fn without_content(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let is_about_a_name = ["missing field", "duplicate field"].iter().any(|it| message.starts_with(it));
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if error.is_data() => format!("expected {expected}"),
        _ if error.is_data() && !is_about_a_name => "can't be read".to_owned(),
        Some(_) | None => message,
    }
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
        let tenant = v1::Tenant { id: "default".to_owned(), ..v1::Tenant::default() };
        let bundle = v1::Bundle { tenants: vec![tenant], ..v1::Bundle::default() };
        read(&path, &bundle).map_err(|fault| fault.to_string())
    }

    #[test]
    fn keys_are_hashed_and_named_by_their_hash() {
        let keys = read_json(r#"{"keys": ["sk-abcdefgh", "sk-abcdefgh", "another-key"]}"#).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].sha256.len(), 64);
        assert!(keys[0].id.starts_with("key-"));
    }

    #[test]
    fn what_is_said_of_a_key_is_what_a_bundle_would_say() {
        let sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
        let text = format!(
            r#"{{"keys": ["sk-plain-0123456", {{"id": "webui", "name": "Open WebUI", "sha256": "{sha256}",
                "owner": "it", "groups": ["staff"], "scopes": ["inference", "act_as"], "models": ["tiny"],
                "expires_at": "2027-01-31T00:00:00+01:00"}}, {{"key": "sk-plain-0123456", "owner": ""}}]}}"#
        );
        let keys = read_json(&text).unwrap();
        assert_eq!(keys.len(), 2, "the third says no more than the first");
        let key = ApiKey::try_from(keys[1].clone()).unwrap();
        assert_eq!((key.id.as_str(), key.owner.as_str(), key.act_as), ("webui", "it", true));
        assert_eq!((key.groups, key.models.len()), (vec!["staff".to_owned()], 1));
        assert_eq!(key.expires_at.unwrap().to_string(), "2027-01-30T23:00:00Z");
        assert_eq!((key.sha256[0], key.sha256[31]), (0x9f, 0x08));
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_without_the_key() {
        for (text, expected) in [
            (r#"{"keys": ["sk-abcdefgh", "hunter two"]}"#, "keys[1]: must be printable"),
            (r#"{"keys": ["hunter,two"]}"#, "keys[0]: must be printable"),
            (r#"{"keys": [""]}"#, "keys[0]: must be printable"),
            (r#"{"keys": ["atk_hunter"]}"#, "keys[0]: begins like a key of Attach Gateway and is not whole"),
            (r#"{"keys": "hunter"}"#, "keys: expected a sequence"),
            (r#"["hunter"]"#, "write {\"keys\""),
            (r#" [["hunter"]]"#, "at the top: expected an object; write {\"keys\""),
            (r#"{"hunter": []}"#, "expected `keys`"),
            (r#"{"keys": [7]}"#, "keys[0]: expected a key, or an object with one"),
            (r#"{"keys": [["hunter"]]}"#, "keys[0]: expected a key, or an object with one"),
            (r#"{"keys": [{"hunter": "ada"}]}"#, "keys[0]: expected one of `id`, `name`, `key`"),
            (r#"{"keys": [{"key": "hunter", "key": "hunter"}]}"#, "keys[0]: duplicate field `key`"),
            (r#"{"keys": ["sk-a", {"key": ["hunter"]}]}"#, "keys[1].key: expected a string"),
            (r#"{"keys": [{"key": "hunter", "groups": "hunter"}]}"#, "keys[0].groups: expected a sequence"),
            (r#"{"keys": [{"owner": "ada"}]}"#, "keys[0]: needs a key, or its sha256"),
            (r#"{"keys": [{"key": "hunter", "sha256": "hunter"}]}"#, "keys[0]: has both key and sha256"),
            (r#"{"keys": [{"sha256": "hunter"}]}"#, "keys[0].sha256: must be 64 hexadecimal digits"),
            (
                r#"{"keys": [{"key": "hunter", "expires_at": "hunter"}]}"#,
                "keys[0].expires_at: must be a time",
            ),
            (r#"{"keys": [{"key": "hunter", "scopes": ["hunter"]}]}"#, "keys[0].scopes[0]: must be one of"),
            (r#"{"keys": [{"key": "hunter", "models": ["a b"]}]}"#, "keys[0].models[0]"),
            (r#"{"keys": [{"key": "hunter", "id": "a b"}]}"#, "keys[0].id: contains ' '"),
            (r#"{"keys": ["hunter", {"key": "hunter", "id": "x"}]}"#, "keys[1]: is an earlier key"),
            (
                r#"{"keys": [{"key": "a", "id": "x"}, {"key": "hunter", "id": "x"}]}"#,
                "keys[1].id: is the id of",
            ),
            (r#"{"keys": []} x"#, "at the end"),
            (r#"{"keys": ["hunter"#, "EOF"),
            ("", "EOF"),
        ] {
            let error = read_json(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter"), "{text}: {error}");
        }
    }
}
