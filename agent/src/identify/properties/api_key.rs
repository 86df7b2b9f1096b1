//! API keys, and the headers that a credential comes in.

use super::{
    super::credential::{Scheme, credential},
    assert_fit_for_a_log,
};
use attach_proto::{
    base62::ALPHABET,
    key_text::{self, ID_CHARACTERS, PREFIX, SECRET_CHARACTERS},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};

pub fn api_key(input: &[u8]) {
    assert_eq!(key_text::has_form(input), is_whole(input));
    // Chance makes no checksum right: the bytes choose a key, too, and the place where it is damaged.
    let digits = input.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
    let mut digits = digits.chain(std::iter::repeat('0'));
    let id: String = digits.by_ref().take(ID_CHARACTERS).collect();
    let secret: String = digits.take(SECRET_CHARACTERS).collect();
    let whole = key_text::write(&id, &secret);
    assert!(is_whole(whole.as_bytes()), "{whole}");
    assert_notices_damage(whole.as_bytes(), input.first().copied().unwrap_or_default());
    if key_text::has_form(input) {
        assert_notices_damage(input, 0);
    }
    assert_one_credential(input);
}

/// The form by its definition: prefix, id, secret and the CRC-32 of all of it, bit by bit, in base62.
fn is_whole(text: &[u8]) -> bool {
    let sum_at = PREFIX.len() + ID_CHARACTERS + 1 + SECRET_CHARACTERS;
    let Some((body, sum)) = text.split_at_checked(sum_at) else { return false };
    let register = body.iter().fold(u32::MAX, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |it, _| it >> 1 ^ if it & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    let digit = |place: u32| ALPHABET[((!register / 62_u32.pow(place)) % 62) as usize];
    let is_written = |bytes: &[u8]| bytes.iter().all(|byte| ALPHABET.contains(byte));
    let (id_at, secret_at) = (PREFIX.len(), PREFIX.len() + ID_CHARACTERS + 1);
    body.starts_with(PREFIX.as_bytes())
        && is_written(&body[id_at..secret_at - 1])
        && body[secret_at - 1] == b'_'
        && is_written(&body[secret_at..])
        && sum == [5, 4, 3, 2, 1, 0].map(digit)
}

/// One character that is another, missing or added is seen.
fn assert_notices_damage(key: &[u8], by: u8) {
    for at in 0..key.len() {
        for difference in [1, 0x20, 0x80, by.max(1)] {
            let mut damaged = key.to_vec();
            damaged[at] ^= difference;
            assert!(!key_text::has_form(&damaged), "{}", damaged.escape_ascii());
        }
        assert!(!key_text::has_form(&key[..at]), "cut at {at}");
        assert!(!key_text::has_form(&[&key[..at], &key[at + 1..]].concat()), "without {at}");
        assert!(!key_text::has_form(&[&key[..at], &[by], &key[at..]].concat()), "longer at {at}");
    }
}

/// Each line is one of the headers that credentials come in, chosen by its first byte.
fn assert_one_credential(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(4) {
        let Some((first, value)) = line.split_first() else { continue };
        let name = if first % 2 == 0 { "x-api-key" } else { "authorization" };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let read = match credential(&headers) {
        Ok(read) => read,
        Err(fault) => return assert_fit_for_a_log(&fault),
    };
    assert!((1..=16 * 1024).contains(&read.bytes.len()));
    assert!(!read.bytes.iter().any(|byte| *byte == b',' || byte.is_ascii_whitespace()), "a list");
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (keys, schemes) = (values("x-api-key"), values("authorization"));
    assert!(keys.len() <= 1 && schemes.len() <= 1, "which of them counts is a guess");
    assert_eq!(read.scheme == Scheme::Key, schemes.is_empty());
    // Whatever came beside it says the same.
    assert!(keys.iter().all(|key| key.trim_ascii() == &*read.bytes), "another key");
    if let [value] = schemes.as_slice() {
        let rest = value.trim_ascii().split(u8::is_ascii_whitespace).next_back().unwrap_or_default();
        match read.scheme {
            Scheme::Bearer | Scheme::Dpop => assert_eq!(rest, &*read.bytes),
            Scheme::Basic => {
                let decoded = STANDARD.decode(rest).unwrap_or_default();
                let name = decoded.split(|byte| *byte == b':').next().unwrap_or_default();
                assert_eq!(decoded[name.len() + 1..], *read.bytes);
            }
            Scheme::Key => assert!(value.is_empty(), "Authorization is read first"),
        }
    }
}
