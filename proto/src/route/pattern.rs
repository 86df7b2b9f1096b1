//! A path that an operator opens, exact or with all below it.

use std::fmt;

/// Longest pattern. It stands in usage events as the operation, whose names have at most this many bytes.
pub const MAX_PATH_BYTES: usize = crate::id::MAX_ID_BYTES;

/// What matches paths that can be read in one way only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// As it was written.
    text: String,
    /// Without `/*`.
    path_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("must begin with a slash, such as /v1/images/generations")]
    NotAbsolute,
    #[error("is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    #[error(
        "must be written plainly: letters, digits and - . _ ~ : @ between single slashes, no `.` or `..`, no slash at its end; `/*` at the end means all below"
    )]
    NotPlain,
    #[error("would open everything; write out what is below it")]
    Everything,
}

impl PathPattern {
    /// # Errors
    ///
    /// When two servers might read it differently.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.len() > MAX_PATH_BYTES {
            return Err(InvalidPattern::TooLong);
        }
        let path = text.strip_suffix("/*").unwrap_or(text);
        match (path, path.strip_prefix('/')) {
            ("" | "/", _) => Err(InvalidPattern::Everything),
            (_, None) => Err(InvalidPattern::NotAbsolute),
            (_, Some(segments)) if !is_plain(segments) => Err(InvalidPattern::NotPlain),
            (_, Some(_)) => Ok(Self { text: text.to_owned(), path_bytes: path.len() }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path itself, without `/*`.
    pub fn path(&self) -> &str {
        self.text.get(..self.path_bytes).unwrap_or(&self.text)
    }

    /// Whether it means all below its path, and not the path.
    pub fn is_prefix(&self) -> bool {
        self.path_bytes < self.text.len()
    }

    /// Whether a request's path is one of these. Below a prefix too only what is written plainly.
    pub fn covers(&self, path: &str) -> bool {
        if !self.is_prefix() {
            return path == self.text;
        }
        below(path, self.path()).is_some_and(is_plain)
    }

    /// Whether some path is both's.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.is_prefix(), other.is_prefix()) {
            (false, false) => self.text == other.text,
            (true, false) => self.covers(&other.text),
            (false, true) => other.covers(&self.text),
            (true, true) => {
                let (a, b) = (self.path(), other.path());
                a == b || below(a, b).is_some() || below(b, a).is_some()
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What of a path comes after a folder of it.
pub(super) fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// Segments that no two servers read differently: none is empty or dots alone, and nothing is escaped.
pub(super) fn is_plain(segments: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@');
    segments.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    #[test]
    fn a_pattern_that_two_servers_might_read_differently_is_refused() {
        for (text, fault) in [
            ("", InvalidPattern::Everything),
            ("/", InvalidPattern::Everything),
            ("/*", InvalidPattern::Everything),
            ("v1/x", InvalidPattern::NotAbsolute),
            ("*", InvalidPattern::NotAbsolute),
            ("/v1/x/", InvalidPattern::NotPlain),
            ("//v1", InvalidPattern::NotPlain),
            ("//*", InvalidPattern::Everything),
            ("/v1/../x", InvalidPattern::NotPlain),
            ("/v1/./x", InvalidPattern::NotPlain),
            ("/v1/%78", InvalidPattern::NotPlain),
            ("/v1/x?y", InvalidPattern::NotPlain),
            ("/v1/x#y", InvalidPattern::NotPlain),
            ("/v1/x;y", InvalidPattern::NotPlain),
            ("/v1/*/x", InvalidPattern::NotPlain),
            ("/v1/x*", InvalidPattern::NotPlain),
            ("/v1\\x", InvalidPattern::NotPlain),
            ("/v1/x y", InvalidPattern::NotPlain),
            ("/v1/\u{e9}", InvalidPattern::NotPlain),
        ] {
            assert_eq!(PathPattern::parse(text), Err(fault), "{text:?}");
        }
        assert_eq!(PathPattern::parse(&format!("/{}", "x".repeat(128))), Err(InvalidPattern::TooLong));
        assert!(PathPattern::parse(&format!("/{}", "x".repeat(127))).is_ok());
    }

    #[test]
    fn a_pattern_covers_its_path_or_what_is_plainly_below_it() {
        assert!(pattern("/v1/x").covers("/v1/x"));
        for other in ["/v1/x/", "/v1/X", "/v1/x/y", "/v1", "//v1/x"] {
            assert!(!pattern("/v1/x").covers(other), "{other}");
        }
        for below in ["/v1/x/y", "/v1/x/y/z-1.2"] {
            assert!(pattern("/v1/x/*").covers(below), "{below}");
        }
        for other in
            ["/v1/x", "/v1/x/", "/v1/x/../y", "/v1/x//y", "/v1/x/%2e", "/v1/x/y/", "/v1/xy", "/v1/x/a;b"]
        {
            assert!(!pattern("/v1/x/*").covers(other), "{other}");
        }
    }

    #[test]
    fn patterns_overlap_when_some_path_is_both_s() {
        for (a, b, overlap) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a", false),
            ("/a/*", "/a/b/*", true),
            ("/a/*", "/ab/*", false),
        ] {
            assert_eq!(pattern(a).overlaps(&pattern(b)), overlap, "{a} {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a)), overlap, "{b} {a}");
        }
    }
}
