//! How an operator proves to be one: a token for the API, a link that is good for one sign-in to the console, and the
//! session that it begins. All are random, and kept as their SHA-256 alone.

use super::secret::{self, NoRandomness, random_text};
use attach_proto::base62;
use std::{fmt, time::Duration};

/// Tells it from an API key, for people and for scanners.
const TOKEN_PREFIX: &str = "ato_";

/// Enough that no two tokens ever meet: 95 bits.
const ID_CHARACTERS: usize = 16;

/// 43 base62 characters are 256 bits.
const SECRET_CHARACTERS: usize = 43;

/// Time to go from the terminal to the browser; whoever finds it later finds it useless.
pub const LINK_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// A working day; the next one begins with a new link.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The text of a secret, as its holder sends it. No log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Whatever somebody sent; whether it is good, its hash tells.
    pub(crate) fn presented(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A new operator token, and its id.
    pub(crate) fn operator_token() -> Result<(String, Self), NoRandomness> {
        let id = random_text(ID_CHARACTERS)?;
        let mut text = format!("{TOKEN_PREFIX}{id}_{}", random_text(SECRET_CHARACTERS)?);
        text.push_str(&base62::checksum(&text));
        Ok((id, Self(text)))
    }

    /// What a link or a session's cookie holds.
    pub(crate) fn plain() -> Result<Self, NoRandomness> {
        random_text(SECRET_CHARACTERS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        secret::sha256(&self.0)
    }

    /// Another secret that follows from this one and does not lead back to it.
    pub(crate) fn derived(&self, purpose: &str) -> String {
        let hash = secret::sha256(&format!("{purpose}\n{}", self.0));
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_log_shows_a_secret_and_what_follows_from_it_is_another() {
        let (id, token) = SecretText::operator_token().unwrap();
        assert!(token.as_str().starts_with(&format!("ato_{id}_")));
        assert_eq!(format!("{token:?}"), "SecretText(…)");
        let session = SecretText::plain().unwrap();
        assert_ne!(session.derived("a"), session.derived("b"));
        assert!(!session.derived("a").contains(session.as_str()));
    }
}
