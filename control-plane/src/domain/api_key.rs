//! API keys, and what is kept of them: of the text that a caller sends ([`key_text`]) the SHA-256. Of 256 random bits that
//! is as good as a slow hash, and the gateway needs it at each request.

use super::{
    key_scope::KeyScope,
    secret::{self, NoRandomness, random_text},
};
use attach_proto::{
    id::{KeyId, ModelName},
    key_text,
};
use jiff::Timestamp;
use std::fmt;

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: String,
    /// Whom usage is recorded for.
    pub owner: String,
    pub groups: Vec<String>,
    /// At least one.
    pub scopes: Vec<KeyScope>,
    /// Empty: all that the access rules grant.
    pub models: Vec<ModelName>,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// Until when the secret before was good, or is: of a key that was rotated with overlap.
    pub previous_until: Option<Timestamp>,
    /// To the minute; `None` when it never was.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Until when it has two secrets.
    pub fn overlap(&self, now: Timestamp) -> Option<Timestamp> {
        self.previous_until.filter(|until| *until > now)
    }
}

/// A key as its holder sends it. Shown once, when it is made; no log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// A new key, and its id.
    pub(crate) fn generate() -> Result<(KeyId, Self), NoRandomness> {
        // Base62 characters are all allowed in an id.
        let id = random_text(key_text::ID_CHARACTERS)?.parse().map_err(|_| NoRandomness)?;
        let text = Self::of(&id)?;
        Ok((id, text))
    }

    /// A new secret for a key.
    pub(crate) fn of(id: &KeyId) -> Result<Self, NoRandomness> {
        Ok(Self(key_text::write(id.as_str(), &random_text(key_text::SECRET_CHARACTERS)?)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_its_form_and_a_new_secret_keeps_its_id() {
        for _ in 0..200 {
            let (id, key) = KeyText::generate().unwrap();
            let rotated = KeyText::of(&id).unwrap();
            assert_ne!(key, rotated);
            for text in [key.as_str(), rotated.as_str()] {
                assert!(key_text::has_form(text.as_bytes()), "{text}");
                assert!(text.starts_with(&format!("atk_{id}_")), "{text}");
            }
        }
    }

    #[test]
    fn no_log_shows_a_key() {
        let (_, key) = KeyText::generate().unwrap();
        assert_eq!(format!("{key:?}"), "KeyText(…)");
    }
}
