//! API keys: their form, and what is kept of them.
//!
//! A key is `atk_` + id (16 characters) + `_` + secret (43) + checksum (6), all base62. The secret is 256 random bits; the
//! checksum lets a scanner tell a key from noise without asking anybody. What is kept is the SHA-256 of the whole text:
//! of 256 random bits that is as good as a slow hash, and the gateway needs it at each request.

use super::secret::{self, NoRandomness, random_text};
use attach_proto::{
    base62::{self, is_base62},
    id::KeyId,
};
use jiff::Timestamp;
use std::fmt;

pub const PREFIX: &str = "atk_";

/// Enough that no two keys ever meet: 16 base62 characters are 95 bits.
const ID_CHARACTERS: usize = 16;

/// 43 base62 characters are 256 bits.
const SECRET_CHARACTERS: usize = 43;

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

impl KeyText {
    /// A new key, and its id.
    pub(crate) fn generate() -> Result<(KeyId, Self), NoRandomness> {
        let id = random_text(ID_CHARACTERS)?;
        let secret = random_text(SECRET_CHARACTERS)?;
        let mut text = format!("{PREFIX}{id}_{secret}");
        text.push_str(&base62::checksum(&text));
        // Base62 characters are all allowed in an id.
        let id = id.parse().map_err(|_| NoRandomness)?;
        Ok((id, Self(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        secret::sha256(&self.0)
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
    id.len() == ID_CHARACTERS
        && tail.len() == SECRET_CHARACTERS + base62::CHECKSUM_CHARACTERS
        && is_base62(id)
        && is_base62(tail)
        && base62::without_checksum(text).is_some()
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
    fn no_log_shows_a_key() {
        let (_, key) = KeyText::generate().unwrap();
        assert_eq!(format!("{key:?}"), "KeyText(…)");
    }
}
