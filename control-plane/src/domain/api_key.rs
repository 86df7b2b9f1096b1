//! API keys: their form, and what is kept of them.
//!
//! A key is `atk_` + id (16 characters) + `_` + secret (43) + checksum (6), all base62. The secret is 256 random bits; the
//! checksum lets a scanner tell a key from noise without asking anybody. What is kept is the SHA-256 of the whole text:
//! of 256 random bits that is as good as a slow hash, and the gateway needs it at each request.

use attach_proto::id::KeyId;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use jiff::Timestamp;
use std::fmt;

pub const PREFIX: &str = "atk_";

/// Enough that no two keys ever meet: 16 base62 characters are 95 bits.
const ID_CHARACTERS: usize = 16;

/// 43 base62 characters are 256 bits.
const SECRET_CHARACTERS: usize = 43;

/// 6 base62 characters hold 32 bits.
const CHECKSUM_CHARACTERS: usize = 6;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: String,
    /// Whom usage is recorded for.
    pub owner: String,
    pub groups: Vec<String>,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// A key as its holder sends it. Shown once, when it is made; no log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

/// The system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("no randomness is to be had from the system")]
pub struct NoRandomness;

impl KeyText {
    /// A new key, and its id.
    pub(crate) fn generate() -> Result<(KeyId, Self), NoRandomness> {
        let id = random_text(ID_CHARACTERS)?;
        let secret = random_text(SECRET_CHARACTERS)?;
        let mut text = format!("{PREFIX}{id}_{secret}");
        text.push_str(&checksum(&text));
        // Base62 characters are all allowed in an id.
        let id = id.parse().map_err(|_| NoRandomness)?;
        Ok((id, Self(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        hash
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

/// Whether a text has the form of a key, its checksum included.
pub fn has_form(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let Some((id, tail)) = rest.split_once('_') else { return false };
    let is_base62 = |text: &str| text.bytes().all(|byte| BASE62.contains(&byte));
    id.len() == ID_CHARACTERS
        && tail.len() == SECRET_CHARACTERS + CHECKSUM_CHARACTERS
        && is_base62(id)
        && is_base62(tail)
        && text
            .split_at_checked(text.len() - CHECKSUM_CHARACTERS)
            .is_some_and(|(body, sum)| sum == checksum(body))
}

/// Uniform: bytes that would favour the first characters are thrown away.
fn random_text(characters: usize) -> Result<String, NoRandomness> {
    /// The largest multiple of 62 that a byte holds.
    const FAIR: u8 = 248;
    let random = SystemRandom::new();
    let mut text = String::with_capacity(characters);
    let mut bytes = [0; 64];
    while text.len() < characters {
        random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR).take(characters - text.len());
        text.extend(fair.filter_map(|byte| BASE62.get(usize::from(byte % 62))).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut characters = [b'0'; CHECKSUM_CHARACTERS];
    for character in characters.iter_mut().rev() {
        if let Some(digit) = BASE62.get(rest as usize % 62) {
            *character = *digit;
        }
        rest /= 62;
    }
    characters.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_its_form_and_one_changed_character_does_not() {
        for _ in 0..200 {
            let (id, key) = KeyText::generate().unwrap();
            let text = key.as_str();
            assert!(has_form(text), "{text}");
            assert_eq!(text.len(), 4 + 16 + 1 + 43 + 6);
            assert!(text.starts_with(&format!("atk_{id}_")));
            for at in [4, 30, text.len() - 1] {
                let mut changed = text.to_owned().into_bytes();
                changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
                assert!(!has_form(&String::from_utf8(changed).unwrap()), "{text} at {at}");
            }
        }
        for other in ["", "atk_", "sk-test-0123456789", "atk_é_", "atk_0123456789abcdef_tooshort"] {
            assert!(!has_form(other), "{other}");
        }
    }

    #[test]
    fn each_character_comes_about_as_often_as_any_other() {
        let text: String = (0..2_000).map(|_| random_text(SECRET_CHARACTERS).unwrap()).collect();
        let expected = text.len() / 62;
        for character in BASE62.iter().map(|byte| char::from(*byte)) {
            let count = text.matches(character).count();
            assert!(count.abs_diff(expected) < expected / 4, "{character}: {count} of about {expected}");
        }
    }

    #[test]
    fn no_log_shows_a_key() {
        let (_, key) = KeyText::generate().unwrap();
        assert_eq!(format!("{key:?}"), "KeyText(…)");
    }
}
