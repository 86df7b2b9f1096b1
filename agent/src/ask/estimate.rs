//! How many tokens a prompt has, roughly: for the reservation, and for engines that do not say.

/// Bytes of prompt to a token. Four is what English text has in the common vocabularies.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of a picture. Common vision models make some hundreds to two thousand of one.
const TOKENS_PER_PICTURE: u64 = 1_500;

/// A string of at least this many bytes, all of base64's alphabet, is a picture and no text: a thousand characters
/// without a blank are no word of any language that is written in ASCII.
const SHORTEST_PICTURE: usize = 1_024;

/// Tokens of a JSON value, as it is written.
pub(super) fn tokens(json: &str) -> u64 {
    let mut text_bytes = 0_u64;
    let mut pictures = 0_u64;
    let mut rest = json;
    // An escaped quote ends a piece too early, which only makes text of it.
    while let Some((before, after)) = rest.split_once('"') {
        text_bytes += before.len() as u64 + 1;
        let string = after.split('"').next().unwrap_or_default();
        if string.len() >= SHORTEST_PICTURE && is_base64(string) {
            pictures += 1;
        } else {
            text_bytes += string.len() as u64;
        }
        rest = after.get(string.len()..).and_then(|rest| rest.strip_prefix('"')).unwrap_or_default();
        text_bytes += 1;
    }
    text_bytes += rest.len() as u64;
    // What was added for quotes of an unfinished string is at most one byte too much.
    text_bytes.min(json.len() as u64).div_ceil(BYTES_PER_TOKEN) + pictures * TOKENS_PER_PICTURE
}

/// With or without `data:image/png;base64,` before it.
fn is_base64(string: &str) -> bool {
    let data = string.split_once(";base64,").map_or(string, |(_, data)| data);
    data.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_quarter_of_its_bytes_however_it_is_quoted() {
        for text in [r#""abcdefgh""#, r#"[{"role":"user","content":"hi \"you\""}]"#, "12345678", "\"", ""] {
            assert_eq!(tokens(text), (text.len() as u64).div_ceil(4), "{text}");
        }
        let chinese = format!("\"{}\"", "\u{4e2d}".repeat(2000));
        assert_eq!(tokens(&chinese), (chinese.len() as u64).div_ceil(4));
    }

    #[test]
    fn a_picture_is_a_picture_and_not_a_hundred_thousand_tokens() {
        let picture = "iVBORw0KGgo".repeat(30_000);
        let message = format!(r#"[{{"image_url":{{"url":"data:image/png;base64,{picture}"}}}}]"#);
        assert!((1_500..1_600).contains(&tokens(&message)), "{}", tokens(&message));
        assert!((3_000..3_100).contains(&tokens(&format!(r#"["{picture}","{picture}"]"#))));
    }
}
