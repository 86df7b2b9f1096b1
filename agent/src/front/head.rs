//! The head of an HTTP/1 request, read line by line as it comes.

use super::Fault;
use memchr::{memchr, memchr2};
use std::hash::BuildHasher;

/// A whole head. The largest token that is taken has 16 KiB; what agents and proxies add fits beside it.
pub(super) const MAX_HEAD_BYTES: usize = 32 << 10;

/// The longest route has 20 bytes; the rest is for names of models and queries.
pub(super) const MAX_TARGET_BYTES: usize = 8 << 10;

/// As many as hyper takes. SDKs send a dozen, browsers behind two proxies thirty.
pub(super) const MAX_HEADERS: usize = 100;

/// Those that a route may know. Everything else is refused before hyper gives it a meaning of its own.
pub(super) const METHODS: [&[u8]; 7] = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH"];

/// How the end of the body is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// What was asked, in the few bytes that tell it from every other request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// A hash of method and target.
    pub(super) line: u64,
    pub(super) framing: Framing,
}

/// How far a head is read. The bytes themselves stay where they are.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Where the line begins that is not complete yet.
    line_start: usize,
    /// Up to here there is no end of a line.
    searched: usize,
    /// An empty line came before the request line: robust servers pass over one (RFC 9112 section 2.2).
    has_skipped: bool,
    request_line: Option<RequestLine>,
    headers: usize,
    length: Option<u64>,
    is_chunked: bool,
}

#[derive(Debug, Clone, Copy)]
struct RequestLine {
    hash: u64,
    is_http_10: bool,
}

impl HeadScan {
    /// Reads on in a head of which `bytes` are there so far. Gives where it ends, once it does.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        hasher: &impl BuildHasher,
    ) -> Result<Option<(usize, Asked)>, Fault> {
        while let Some(found) = bytes.get(self.searched..).and_then(|rest| memchr(b'\n', rest)) {
            let end = self.searched + found;
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            self.searched = end + 1;
            self.line_start = end + 1;
            let Some((b'\r', line)) = line.split_last() else { return Err(Fault::LineEnd) };
            if self.searched > MAX_HEAD_BYTES {
                return Err(Fault::HeadTooLarge);
            }
            match self.request_line {
                None if line.is_empty() && !self.has_skipped => self.has_skipped = true,
                None => self.request_line = Some(request_line(line, hasher)?),
                Some(request_line) if line.is_empty() => {
                    return Ok(Some((self.searched, self.finish(request_line)?)));
                }
                Some(_) => self.header(line)?,
            }
        }
        self.searched = bytes.len();
        self.judge_beginning(bytes.get(self.line_start..).unwrap_or_default())?;
        Ok(None)
    }

    /// What can be said of a line that has no end yet: nobody should wait for the rest of what will be refused anyway.
    fn judge_beginning(&self, line: &[u8]) -> Result<(), Fault> {
        if self.request_line.is_none() {
            match line.first() {
                // Not text at all: TLS on a port without, as a rule.
                Some(byte) if !byte.is_ascii_uppercase() && *byte != b'\r' => return Err(Fault::RequestLine),
                _ if line.len() > MAX_TARGET_BYTES + LONGEST_AROUND_TARGET => {
                    return Err(Fault::TargetTooLong);
                }
                _ => {}
            }
        }
        if self.searched > MAX_HEAD_BYTES {
            return Err(Fault::HeadTooLarge);
        }
        // The last byte may be the CR of a line end whose LF is still on its way.
        let Some((_, without_last)) = line.split_last() else { return Ok(()) };
        if memchr2(b'\r', 0, without_last).is_some() { Err(Fault::LineEnd) } else { Ok(()) }
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(Fault::TooManyHeaders);
        }
        let (name, value) = header_line(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            // A second one that says the same is refused too: whoever made it can't have meant it.
            if self.length.is_some() {
                return Err(Fault::Framing);
            }
            self.length = Some(length(value).ok_or(Fault::Framing)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Framing);
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn finish(&self, line: RequestLine) -> Result<Asked, Fault> {
        let framing = match (self.length, self.is_chunked) {
            (Some(_), true) => return Err(Fault::Framing),
            // HTTP/1.0 has no chunks (RFC 9112 section 6.1).
            (None, true) if line.is_http_10 => return Err(Fault::Framing),
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Asked { line: line.hash, framing })
    }
}

/// `OPTIONS`, ` HTTP/1.1`, the space between, and the CR.
const LONGEST_AROUND_TARGET: usize = 18;

fn request_line(line: &[u8], hasher: &impl BuildHasher) -> Result<RequestLine, Fault> {
    let space = memchr(b' ', line).ok_or(Fault::RequestLine)?;
    let (method, rest) = line.split_at(space);
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
        return Err(Fault::RequestLine);
    }
    let rest = rest.get(1..).unwrap_or_default();
    let space = memchr(b' ', rest).ok_or(Fault::RequestLine)?;
    let (target, version) = rest.split_at(space);
    let is_http_10 = match version {
        b" HTTP/1.1" => false,
        b" HTTP/1.0" => true,
        _ if version.starts_with(b" HTTP/")
            && memchr(b' ', version.get(1..).unwrap_or_default()).is_none() =>
        {
            return Err(Fault::Version);
        }
        _ => return Err(Fault::RequestLine),
    };
    if !METHODS.contains(&method) {
        return Err(Fault::Method);
    }
    if target.len() > MAX_TARGET_BYTES {
        return Err(Fault::TargetTooLong);
    }
    // A fragment is the client's own business; what drops it would read another target than what does not.
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    if target.first() != Some(&b'/') || !target.iter().all(is_plain) {
        return Err(Fault::Target);
    }
    Ok(RequestLine { hash: hash(hasher, method, target), is_http_10 })
}

pub(super) fn hash(hasher: &impl BuildHasher, method: &[u8], target: &[u8]) -> u64 {
    hasher.hash_one((method, target))
}

/// Name and value, without the white space around it. Also for trailers.
pub(super) fn header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if memchr2(b'\r', 0, line).is_some() {
        return Err(Fault::LineEnd);
    }
    // No name has white space: neither a folded line nor one before its colon passes.
    let name_end = line.iter().position(|&byte| !is_token(byte)).ok_or(Fault::Header)?;
    match line.split_at(name_end) {
        (name @ [_, ..], [b':', value @ ..]) => Ok((name, trim(value))),
        _ => Err(Fault::Header),
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            #[expect(clippy::cast_possible_truncation, reason = "below 256")]
            let character = byte as u8;
            table[byte] = character.is_ascii_alphanumeric()
                || matches!(
                    character,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            byte += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

/// Optional white space is spaces and tabs, nothing else (RFC 9110 section 5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits and nothing else: no sign, no list, no other base.
fn length(value: &[u8]) -> Option<u64> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}
