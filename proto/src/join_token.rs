//! What a gateway joins with: `atj_<id>_<secret>_<pin><checksum>`, good for one gateway and a short time.
//!
//! The pin is the SHA-256 of the control plane's authority certificate in hexadecimal digits. It lets the gateway know the
//! control plane before it has ever spoken to it, so the secret goes to nobody else.

use crate::base62::{self, is_base62};
use std::{fmt, fmt::Write as _, str::FromStr};

pub const PREFIX: &str = "atj_";

/// Enough that no two tokens ever meet: 95 bits.
pub const ID_CHARACTERS: usize = 16;

/// 256 bits.
pub const SECRET_CHARACTERS: usize = 43;

/// Of a SHA-256.
const PIN_DIGITS: usize = 64;

/// No log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    text: String,
    authority_sha256: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinToken {
    #[error("a join token starts with {PREFIX}; this is something else")]
    Prefix,
    #[error("the join token is not whole: copy it again, all of it")]
    NotWhole,
}

impl JoinToken {
    /// From an id and a secret in base62, of the lengths above.
    pub fn new(id: &str, secret: &str, authority_sha256: [u8; 32]) -> Self {
        let mut text = format!("{PREFIX}{id}_{secret}_");
        for byte in authority_sha256 {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push_str(&base62::checksum(&text));
        Self { id: id.to_owned(), text, authority_sha256 }
    }

    /// Not secret: it names the token in lists and in the audit trail.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole of it, secret included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn authority_sha256(&self) -> &[u8; 32] {
        &self.authority_sha256
    }
}

impl FromStr for JoinToken {
    type Err = InvalidJoinToken;

    fn from_str(text: &str) -> Result<Self, InvalidJoinToken> {
        let rest = text.strip_prefix(PREFIX).ok_or(InvalidJoinToken::Prefix)?;
        let parts = || {
            base62::without_checksum(text)?;
            let (id, rest) = rest.split_once('_')?;
            let (secret, rest) = rest.split_once('_')?;
            let pin = rest.get(..rest.len().checked_sub(base62::CHECKSUM_CHARACTERS)?)?;
            let is_whole = id.len() == ID_CHARACTERS
                && secret.len() == SECRET_CHARACTERS
                && pin.len() == PIN_DIGITS
                && is_base62(id)
                && is_base62(secret);
            let mut authority_sha256 = [0; 32];
            for (byte, digits) in authority_sha256.iter_mut().zip(pin.as_bytes().chunks_exact(2)) {
                *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
            }
            is_whole.then(|| Self { id: id.to_owned(), text: text.to_owned(), authority_sha256 })
        };
        parts().ok_or(InvalidJoinToken::NotWhole)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}…)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_one_that_lost_a_character_is_not() {
        let token = JoinToken::new("0123456789abcdef", &"s".repeat(43), [0xa7; 32]);
        let text = token.as_str();
        let read: JoinToken = text.parse().unwrap();
        assert_eq!(read, token);
        assert_eq!((read.id(), read.authority_sha256()), ("0123456789abcdef", &[0xa7; 32]));
        assert_eq!(format!("{read:?}"), "JoinToken(0123456789abcdef…)");
        for end in 4..text.len() {
            assert_eq!(text[..end].parse::<JoinToken>(), Err(InvalidJoinToken::NotWhole), "{end}");
        }
        assert_eq!(text.replace("a7", "A8").parse::<JoinToken>(), Err(InvalidJoinToken::NotWhole));
        for other in ["", "atk_x", "é"] {
            assert_eq!(other.parse::<JoinToken>(), Err(InvalidJoinToken::Prefix), "{other}");
        }
        assert_eq!("atj_é".parse::<JoinToken>(), Err(InvalidJoinToken::NotWhole));
    }
}
