//! What a caller sends as an API key: `atk_<id>_<secret><checksum>`.
//!
//! All of it is base62. The secret is 256 random bits; the checksum lets anybody tell a key from noise, and a whole one
//! from one that was cut, without asking who knows the keys.

use crate::base62::{self, is_base62};

pub const PREFIX: &str = "atk_";

/// Enough that no two keys ever meet: 16 base62 characters are 95 bits.
pub const ID_CHARACTERS: usize = 16;

/// 43 base62 characters are 256 bits.
pub const SECRET_CHARACTERS: usize = 43;

/// The key of an id and a secret in base62, of the lengths above.
pub fn write(id: &str, secret: &str) -> String {
    let mut text = format!("{PREFIX}{id}_{secret}");
    text.push_str(&base62::checksum(&text));
    text
}

/// Whether a text means to be such a key, whole or not.
pub fn claims_to_be_key(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes())
}

/// Whether a text has the form of a key, its checksum included. Says nothing of whether there is such a key.
pub fn has_form(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let Some((id, tail)) = rest.split_once('_') else { return false };
    is_id(id)
        && tail.len() == SECRET_CHARACTERS + base62::CHECKSUM_CHARACTERS
        && is_base62(tail)
        && base62::without_checksum(text).is_some()
}

/// Whether an id can stand in a key.
pub fn is_id(id: &str) -> bool {
    id.len() == ID_CHARACTERS && is_base62(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_form_and_with_any_character_changed_missing_or_added_it_has_not() {
        let text = write("0123456789abcdef", &"s".repeat(SECRET_CHARACTERS));
        assert_eq!(text.len(), 4 + 16 + 1 + 43 + 6);
        assert!(has_form(text.as_bytes()));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert!(!has_form(&changed), "{at}");
            assert!(!has_form(&text.as_bytes()[..at]), "cut at {at}");
            assert!(!has_form(format!("{}0{}", &text[..at], &text[at..]).as_bytes()), "longer at {at}");
        }
        // Whole by their checksum, and not as long as keys are.
        for (id, secret) in [(15, 43), (17, 43), (16, 42), (16, 44), (0, 43)] {
            let text = write(&"i".repeat(id), &"s".repeat(secret));
            assert!(!has_form(text.as_bytes()), "{text}");
        }
        for other in ["", "atk_", "sk-test-0123456789", "atk_é_", "atk_0123456789abcdef_tooshort"] {
            assert!(!has_form(other.as_bytes()), "{other}");
        }
        assert!(!has_form(b"atk_\xff"));
    }
}
