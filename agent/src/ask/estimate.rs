//! How many tokens a prompt has, roughly: for the reservation, and for engines that do not say.

/// Bytes of prompt to a token. Four is what English text has in the common vocabularies.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of a picture. Common vision models make some hundreds to two thousand of one.
const TOKENS_PER_PICTURE: u64 = 1_500;

/// A shorter string is counted as text whatever it holds.
const SHORTEST_PICTURE: usize = 1_024;

/// Members that hold pictures: of Ollama, of Anthropic, of OpenAI. Text that stands there is no prompt to any of them.
const PICTURE_MEMBERS: [&str; 3] = ["images", "data", "url"];

/// Tokens of a member's value, as it is written.
pub(super) fn tokens(member: &str, json: &str) -> u64 {
    let mut text_bytes = json.len() as u64;
    let mut pictures = 0_u64;
    let mut key = member;
    let mut rest = json;
    // An escaped quote ends a string too early; then what follows is taken for text, as it should be.
    while let Some((_, after)) = rest.split_once('"') {
        let string = after.split('"').next().unwrap_or_default();
        rest = after.get(string.len()..).and_then(|rest| rest.strip_prefix('"')).unwrap_or_default();
        if rest.trim_ascii_start().starts_with(':') {
            key = string;
        } else if string.len() >= SHORTEST_PICTURE && PICTURE_MEMBERS.contains(&key) && is_base64(string) {
            text_bytes -= string.len() as u64;
            pictures += 1;
        }
    }
    text_bytes.div_ceil(BYTES_PER_TOKEN) + pictures * TOKENS_PER_PICTURE
}

/// With or without `data:image/png;base64,` before it.
fn is_base64(string: &str) -> bool {
    let data = string.split_once(";base64,").map_or(string, |(_, data)| data);
    data.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_quarter_of_its_bytes_however_it_is_written() {
        let long = "a".repeat(5_000);
        let escaped = "\\u0061".repeat(2_000);
        for text in [
            r#""abcdefgh""#.to_owned(),
            r#"[{"role":"user","content":"hi \"you\""}]"#.to_owned(),
            format!(r#"[{{"role":"user","content":"{long}"}}]"#),
            format!(r#"[{{"images":[],"content":"{escaped}"}}]"#),
            format!(r#"[{{"url":"x","content":"{long}"}}]"#),
            "\"".to_owned(),
            String::new(),
        ] {
            assert_eq!(tokens("messages", &text), (text.len() as u64).div_ceil(4), "{text}");
        }
    }

    #[test]
    fn a_picture_is_a_picture_and_not_a_hundred_thousand_tokens() {
        let picture = "iVBORw0KGgo".repeat(30_000);
        let message = format!(r#"[{{"image_url":{{"url":"data:image/png;base64,{picture}"}}}}]"#);
        assert!((1_500..1_600).contains(&tokens("messages", &message)));
        assert!((3_000..3_100).contains(&tokens("images", &format!(r#"["{picture}","{picture}"]"#))));
    }
}
