//! The keys of an issuer: those of its JWKS document that may verify a signature.

use crate::{
    excerpt::Excerpt,
    json::from_object,
    key::{Key, KeyFault},
};
use attach_proto::{
    Invalid,
    bundle::{Algorithm, Bundle},
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::ParsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use std::collections::HashMap;
use thiserror::Error;

/// Large issuers publish about ten; more than this is no key set of one issuer.
const MAX_KEYS: usize = 100;

/// Of a set that is sent to gateways: a hundred RSA keys of 4,096 bits, with a third to spare. A tenant's room is reckoned with
/// it (`migrations/0009_room.sql`).
const MAX_USABLE_BYTES: usize = 128 << 10;

#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
    fingerprint: Vec<u8>,
}

/// A key that is not used, and why. The others of its set are.
#[derive(Debug)]
pub struct Skipped {
    pub index: usize,
    pub id: Option<Excerpt>,
    pub fault: KeyFault,
}

#[derive(Debug, Error)]
pub enum KeySetFault {
    #[error("it is no JSON Web Key Set: {0}")]
    NotAKeySet(#[from] serde_json::Error),
    #[error("its usable keys take {0} bytes, more than {MAX_USABLE_BYTES}")]
    TooLong(usize),
    #[error("it has {0} keys, more than {MAX_KEYS}")]
    TooMany(usize),
    #[error("none of its {0} keys is usable{first}", first = .1.as_deref().unwrap_or_default())]
    NoneUsable(usize, Option<String>),
}

#[derive(Debug)]
pub enum Selected<'a> {
    One(&'a ParsedPublicKey),
    /// A new set may have it.
    Unknown,
    NotForAlgorithm,
    Ambiguous,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeySet {
    /// A key that cannot be used is skipped, so that one new kind of key is no outage.
    ///
    /// # Errors
    /// When the whole is no key set, or not one of its keys can be used.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetFault> {
        let Document { keys: documents } = from_object(json)?;
        if documents.len() > MAX_KEYS {
            return Err(KeySetFault::TooMany(documents.len()));
        }
        let mut keys = Vec::new();
        let mut skipped = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            match Key::parse(document.get().as_bytes()) {
                Ok(key) => keys.push((index, key)),
                Err(fault) => skipped.push(Skipped { index, id: shown_id(document), fault }),
            }
        }
        let keys = without_shared_ids(keys, &mut skipped);
        if keys.is_empty() {
            let first = skipped.first().map(|it| format!("; keys[{}] {}", it.index, it.fault));
            return Err(KeySetFault::NoneUsable(documents.len(), first));
        }
        let fingerprint = fingerprint(&keys);
        Ok(Self { keys, skipped, fingerprint })
    }

    /// The key with this id, or, for a token that names none, the only one that fits.
    pub fn select(&self, id: Option<&str>, algorithm: Algorithm) -> Selected<'_> {
        if let Some(id) = id {
            return match self.keys.iter().find(|key| key.id.as_deref() == Some(id)) {
                Some(key) => key.verifier(algorithm).map_or(Selected::NotForAlgorithm, Selected::One),
                None => Selected::Unknown,
            };
        }
        let mut fitting = self.keys.iter().filter_map(|key| key.verifier(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Selected::One(key),
            (Some(_), Some(_)) => Selected::Ambiguous,
            (None, _) => Selected::Unknown,
        }
    }

    /// The keys of its document that are used, with what verifying needs of them and nothing else: the same text for the same
    /// keys, in whatever order they are listed, and parsed it is the same set.
    ///
    /// # Errors
    /// It is not the document that this set was parsed from, or too long for what a provider's keys may take of a gateway.
    pub fn usable(&self, json: &[u8]) -> Result<String, KeySetFault> {
        let Document { keys } = serde_json::from_slice(json)?;
        let is_skipped = |index: usize| self.skipped.iter().any(|skipped| skipped.index == index);
        let used = keys.iter().enumerate().filter(|(index, _)| !is_skipped(*index));
        let texts = used.map(|(_, document)| {
            let members: Map<String, Value> = serde_json::from_str(document.get())?;
            // All that is read of a key is text; whatever else stands there is of no use, and may be long.
            let text =
                |&name: &&'static str| Some((name, members.get(name).filter(|value| value.is_string())?));
            let kept = members_of(members.get("kty")).iter().filter_map(text);
            let kept = kept.map(|(name, value)| format!("\"{name}\":{value}"));
            Ok(format!("{{{}}}", kept.collect::<Vec<_>>().join(",")))
        });
        let mut texts: Vec<String> = texts.collect::<Result<_, serde_json::Error>>()?;
        texts.sort_unstable();
        let text = format!("{{\"keys\":[{}]}}", texts.join(","));
        if text.len() > MAX_USABLE_BYTES {
            return Err(KeySetFault::TooLong(text.len()));
        }
        Ok(text)
    }

    #[expect(clippy::len_without_is_empty, reason = "without a key it is no set")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Whether the same keys may verify the same algorithms, in whatever order they are listed.
    pub fn same_as(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

/// Whether each provider that brings its keys has one that can be used.
pub fn check_key_sets(bundle: &Bundle) -> Result<(), Invalid> {
    for (index, provider) in bundle.identity_providers.iter().enumerate() {
        if let Some(jwks) = &provider.jwks {
            KeySet::parse(jwks.as_bytes()).map_err(|fault| Invalid {
                path: format!("identity_providers[{index}].jwks"),
                problem: format!("can't be used: {fault}"),
            })?;
        }
    }
    Ok(())
}

/// What a key that can't be used calls itself.
fn shown_id(document: &RawValue) -> Option<Excerpt> {
    #[derive(Deserialize)]
    struct Named {
        kid: String,
    }
    let named: Named = serde_json::from_str(document.get()).ok()?;
    Some(Excerpt::of(&named.kid))
}

/// An id that two keys share names neither.
fn without_shared_ids(keys: Vec<(usize, Key)>, skipped: &mut Vec<Skipped>) -> Vec<Key> {
    let mut uses: HashMap<String, usize> = HashMap::new();
    for id in keys.iter().filter_map(|(_, key)| key.id.as_ref()) {
        *uses.entry(id.clone()).or_default() += 1;
    }
    let mut kept = Vec::new();
    for (index, key) in keys {
        match key.id.as_ref().filter(|id| uses.get(*id).is_some_and(|&uses| uses > 1)) {
            Some(id) => {
                skipped.push(Skipped { index, id: Some(Excerpt::of(id)), fault: KeyFault::DuplicateId });
            }
            None => kept.push(key),
        }
    }
    kept
}

/// What stands in a key of this type (RFC 7518 section 6, RFC 8037 section 2), in the order of the alphabet.
fn members_of(kty: Option<&Value>) -> &'static [&'static str] {
    match kty.and_then(Value::as_str) {
        Some("RSA") => &["alg", "e", "kid", "kty", "n"],
        Some("EC") => &["alg", "crv", "kid", "kty", "x", "y"],
        Some("OKP") => &["alg", "crv", "kid", "kty", "x"],
        Some(_) | None => &[],
    }
}

fn fingerprint(keys: &[Key]) -> Vec<u8> {
    let mut identities: Vec<_> =
        keys.iter().map(|key| digest(&SHA256, &key.identity()).as_ref().to_vec()).collect();
    identities.sort_unstable();
    digest(&SHA256, &identities.concat()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: &str = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;

    /// Of RFC 7515, appendix A.2.
    const RSA: &str = r#""kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ""#;

    #[test]
    fn what_no_key_of_its_type_has_is_not_passed_on_however_it_is_called() {
        let padding = "A".repeat(9_000);
        let keys =
            format!(r#"{{"keys":[{{{RSA},"x":"{padding}","alg":"RS256"}},{{{POINT},"n":"{padding}"}}]}}"#);
        let set = KeySet::parse(keys.as_bytes()).unwrap();
        let text = set.usable(keys.as_bytes()).unwrap();
        assert!(KeySet::parse(text.as_bytes()).unwrap().same_as(&set), "{text}");
        assert!(!text.contains("AAAAAAAA") && text.len() < 1_000, "{text}");
    }

    #[test]
    fn what_is_passed_on_is_the_same_set_with_nothing_else_in_whatever_order() {
        let one = format!(r#"{{"kid":"a\"1",{POINT},"use":"sig","x5c":["{}"]}}"#, "A".repeat(9_000));
        let two = format!(r#"{{{POINT},"kid":"b","alg":"ES256","key_ops":["verify"]}}"#);
        let skipped = r#"{"kty":"oct","k":"AA","kid":"c"}"#;
        let listed = |keys: &[&str]| format!(r#"{{"keys":[{}],"more":1}}"#, keys.join(","));
        let passed_on = |document: &str| {
            let set = KeySet::parse(document.as_bytes()).unwrap();
            let text = set.usable(document.as_bytes()).unwrap();
            assert!(KeySet::parse(text.as_bytes()).unwrap().same_as(&set), "{text}");
            text
        };
        let text = passed_on(&listed(&[&one, skipped, &two]));
        assert_eq!(text, passed_on(&listed(&[&two, &one])));
        assert!(text.len() < 500 && !text.contains("oct"), "{text}");
        assert_ne!(text, passed_on(&listed(&[&one])));
    }
}
