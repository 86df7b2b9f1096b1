//! Secret texts: random, in base62, and the hash of one, which is all that is kept of it.

use attach_proto::base62::ALPHABET;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};

/// The system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("no randomness is to be had from the system")]
pub struct NoRandomness;

/// Uniform: bytes that would favour the first characters are thrown away.
pub(crate) fn random_text(characters: usize) -> Result<String, NoRandomness> {
    /// The largest multiple of 62 that a byte holds.
    const FAIR: u8 = 248;
    let random = SystemRandom::new();
    let mut text = String::with_capacity(characters);
    let mut bytes = [0; 64];
    while text.len() < characters {
        random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR).take(characters - text.len());
        text.extend(
            fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 62))).map(|byte| char::from(*byte)),
        );
    }
    Ok(text)
}

pub(crate) fn sha256(text: &str) -> [u8; 32] {
    sha256_of_bytes(text.as_bytes())
}

pub(crate) fn sha256_of_bytes(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_comes_about_as_often_as_any_other() {
        let text: String = (0..2_000).map(|_| random_text(43).unwrap()).collect();
        let expected = text.len() / 62;
        for character in ALPHABET.iter().map(|byte| char::from(*byte)) {
            let count = text.matches(character).count();
            assert!(count.abs_diff(expected) < expected / 4, "{character}: {count} of about {expected}");
        }
    }
}
