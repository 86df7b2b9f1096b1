//! Text of a stranger's choosing, made fit for a log line.

use std::fmt;

/// Long enough for an issuer or a key id that a person must recognise, short enough that a refusal stays one line.
const MAX_CHARACTERS: usize = 120;

/// Untrusted text: control characters and quotes escaped, cut after 120 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    pub fn of(text: &str) -> Self {
        let mut shown: String = text.chars().take(MAX_CHARACTERS).flat_map(char::escape_debug).collect();
        if text.chars().nth(MAX_CHARACTERS).is_some() {
            shown.push('…');
        }
        Self(shown.into())
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_stays_on_one_short_line() {
        assert_eq!(Excerpt::of("a\r\nb\0\"").to_string(), r#""a\r\nb\0\"""#);
        assert_eq!(Excerpt::of(&"x".repeat(70_000)).to_string().chars().count(), MAX_CHARACTERS + 3);
    }
}
