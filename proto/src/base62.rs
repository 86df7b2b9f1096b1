//! Digits and letters: what secrets are written in, so that a double click takes all of one.

pub const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 6 characters hold the 32 bits of a checksum.
pub const CHECKSUM_CHARACTERS: usize = 6;

/// Tells a mistyped or cut secret from a wrong one. CRC-32 (IEEE 802.3).
pub fn checksum(text: &str) -> String {
    checksum_of(text.as_bytes()).map(char::from).iter().collect()
}

/// The text before its checksum, when that is right.
pub fn without_checksum(text: &str) -> Option<&str> {
    let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_CHARACTERS)?)?;
    (sum.as_bytes() == checksum_of(body.as_bytes())).then_some(body)
}

pub fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Nothing is allocated: a gateway does this for each key that it is sent.
fn checksum_of(text: &[u8]) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(text);
    let mut characters = [b'0'; CHECKSUM_CHARACTERS];
    for character in characters.iter_mut().rev() {
        if let Some(digit) = ALPHABET.get(rest as usize % 62) {
            *character = *digit;
        }
        rest /= 62;
    }
    characters
}
