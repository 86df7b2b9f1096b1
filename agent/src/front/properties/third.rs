//! A reader of requests as one would write it from RFC 9112 in an hour: lines, colons, and the first framing there is. It
//! is lenient where the front is strict, and has no idea of attacks.

/// A request and its body, from the first byte of what it was read of.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: &'a str,
    pub(super) headers: Vec<(&'a str, &'a [u8])>,
    pub(super) body: Vec<u8>,
    /// How many of them it has.
    pub(super) bytes: usize,
}

/// `None` for what is no request, or not all of one.
pub(super) fn read(sent: &[u8]) -> Option<Whole<'_>> {
    // One empty line may come first (section 2.2).
    let skipped = if sent.starts_with(b"\r\n") { 2 } else { 0 };
    let (first, mut at) = line(sent, skipped)?;
    let mut words = str::from_utf8(first).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let (header, next) = line(sent, at)?;
        at = next;
        if header.is_empty() {
            break;
        }
        let colon = header.iter().position(|byte| *byte == b':')?;
        let value = header[colon + 1..].trim_ascii();
        headers.push((str::from_utf8(&header[..colon]).ok()?, value));
    }
    let one = |wanted: &str| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
    };
    let (body, bytes) = if one("transfer-encoding").is_some() {
        chunked(sent, at)?
    } else {
        let length: usize =
            one("content-length").map_or(Some(0), |text| str::from_utf8(text).ok()?.parse().ok())?;
        (sent.get(at..at.checked_add(length)?)?.to_vec(), at + length)
    };
    Some(Whole { method, target, version, headers, body, bytes })
}

/// Section 7.1.
fn chunked(sent: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    loop {
        let (size, data) = line(sent, at)?;
        let digits = size.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            at = data;
            break;
        }
        let end = data.checked_add(size)?;
        body.extend_from_slice(sent.get(data..end)?);
        let (nothing, next) = line(sent, end)?;
        if !nothing.is_empty() {
            return None;
        }
        at = next;
    }
    loop {
        let (trailer, next) = line(sent, at)?;
        at = next;
        if trailer.is_empty() {
            return Some((body, at));
        }
    }
}

/// The line that begins there, and where the next one does.
fn line(sent: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = sent.get(from..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..end], from + end + 2))
}
