//! The strings of a JSON text: where one ends, and whether it is text that a model wrote.

use memchr::memchr2;

/// Beyond this a string is searched.
const SHORT_STRING: usize = 32;

/// True for a key, at any depth, whose string is text that a model wrote: OpenAI `content`, `text`, `reasoning_content`
/// (vLLM: `reasoning`), `refusal`, `arguments`; Ollama `content`, `response`, `thinking`; Anthropic `text`, `thinking`,
/// `partial_json`.
pub(super) fn is_content_key(key: &[u8]) -> bool {
    match key.len() {
        4 => key == b"text",
        7 => key == b"content" || key == b"refusal",
        8 => key == b"response" || key == b"thinking",
        9 => key == b"reasoning" || key == b"arguments",
        12 => key == b"partial_json",
        17 => key == b"reasoning_content",
        _ => false,
    }
}

/// The offset of the next quote or backslash. Most strings of an event are shorter than a search is worth, so the first
/// bytes are looked at eight at a time.
pub(super) fn string_stop(rest: &[u8]) -> Option<usize> {
    let (near, far) = rest.split_at(rest.len().min(SHORT_STRING));
    let mut words = near.chunks_exact(8);
    let mut before = 0;
    for word in words.by_ref() {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        let ends = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
        if ends != 0 {
            return Some(before + ends.trailing_zeros() as usize / 8);
        }
        before += 8;
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\');
    match words.remainder().iter().position(ends) {
        Some(stop) => Some(before + stop),
        None => memchr2(b'"', b'\\', far).map(|stop| near.len() + stop),
    }
}

/// Marks the bytes of a word that equal `byte`, the first of them exactly (Hacker's Delight, 6-1).
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = word ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !zero & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_at_its_first_quote_or_backslash_wherever_that_is() {
        // Bytes next to those that end a string, and those whose top bit is set.
        for filling in [b'a', b'!', b'#', b'[', b']', 0x00, 0xa2, 0xdc, 0xff] {
            for length in 0..100 {
                let text = vec![filling; length];
                assert_eq!(string_stop(&text), None, "{filling} {length}");
                for stop in 0..length {
                    for end in [b'"', b'\\'] {
                        let mut text = text.clone();
                        text[stop] = end;
                        // A second one behind it changes nothing.
                        text[length - 1] = b'"';
                        assert_eq!(string_stop(&text), Some(stop), "{filling} {length} {stop}");
                    }
                }
            }
        }
    }
}
