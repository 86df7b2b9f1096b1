//! Paths that mean the same to every server.

/// Whether a path is in its plain form: no empty, `.` or `..` segment, no backslash, and no escape that hides a slash, a
/// dot or a control character. The table of routes is exact anyway; this holds for whoever reads the path later.
pub(super) fn is_plain(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/').map(|rest| rest.split('/')) else { return false };
    // As nearly all are: nothing in it but a doubled slash could break a rule.
    if !path.bytes().any(|byte| matches!(byte, b'.' | b';' | b'\\' | b'%')) {
        return !path.as_bytes().windows(2).any(|pair| pair == b"//");
    }
    // The last may be empty: `/`, and `/api/chat/`, which is just another path.
    let mut is_last_empty = false;
    for segment in segments {
        if is_last_empty {
            return false;
        }
        is_last_empty = segment.is_empty();
        // `..;x` is `..` to servers that cut off parameters.
        let name = segment.split(';').next().unwrap_or_default();
        if name == "." || name == ".." {
            return false;
        }
    }
    !path.contains('\\') && has_plain_escapes(path.as_bytes())
}

fn has_plain_escapes(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let digit = |offset: usize| rest.get(at + offset).and_then(|&byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(1), digit(2)) else { return false };
        let byte = high * 16 + low;
        let hides = [b'/', b'.', b'\\', b'%', b';'].map(u32::from).contains(&byte);
        if hides || byte < 0x20 || byte == 0x7f {
            return false;
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    true
}
