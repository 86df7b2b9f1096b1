//! Where a chunked body ends (RFC 9112 section 7.1).

use super::{Fault, head::header_line};
use memchr::memchr;

/// A line within the body: the size of a chunk with its extensions, or a trailer. Nobody sends extensions but those
/// who try what readers make of them.
const MAX_LINE_BYTES: usize = 256;

/// All such lines beside those that carry data, so that a body of nothing but trailers comes to an end.
const MAX_TRAILERS: usize = 16;

/// Hexadecimal digits of a size: 4 GiB, far above the largest body.
const MAX_SIZE_DIGITS: usize = 8;

/// Trailers that would be believed where trailers are merged with headers: framing, routing, credentials, and what
/// says how to read the body (RFC 9110 section 6.5.1). Others are read over, and go nowhere.
const FORBIDDEN_TRAILERS: [&str; 18] = [
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "content-type",
    "content-range",
    "host",
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "cookie",
    "connection",
    "upgrade",
    "expect",
    "te",
    "trailer",
    "cache-control",
    "forwarded",
];

/// Prefixes of names that say who calls.
const FORBIDDEN_PREFIXES: [&str; 3] = ["x-attach-", "x-forwarded-", "x-openwebui-"];

/// How far a chunked body is read.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// The line that is not complete yet.
    line: [u8; MAX_LINE_BYTES],
    line_bytes: usize,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size,
    Data(u64),
    /// The CR LF behind the data of a chunk.
    DataEnd,
    Trailer,
    End,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { place: Place::Size, line: [0; MAX_LINE_BYTES], line_bytes: 0, trailers: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.place == Place::End
    }

    /// Reads on; gives how many of these bytes are of the body. They are all of them, until it is over.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.place {
                Place::End => break,
                Place::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    taken += here;
                    let left = left - here as u64;
                    self.place = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                }
                Place::Size | Place::DataEnd | Place::Trailer => {
                    let line_end = memchr(b'\n', rest);
                    let piece = rest.get(..line_end.map_or(rest.len(), |at| at + 1)).unwrap_or_default();
                    taken += piece.len();
                    self.keep(piece)?;
                    if line_end.is_some() {
                        self.line()?;
                    }
                }
            }
        }
        Ok(taken)
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let room = self.line.get_mut(self.line_bytes..self.line_bytes + piece.len()).ok_or(Fault::Chunk)?;
        room.copy_from_slice(piece);
        self.line_bytes += piece.len();
        Ok(())
    }

    /// A line has come to its end.
    fn line(&mut self) -> Result<(), Fault> {
        let line = self.line.get(..self.line_bytes).unwrap_or_default();
        let line = line.strip_suffix(b"\r\n").ok_or(Fault::LineEnd)?;
        self.place = match self.place {
            Place::Size => match size(line)? {
                0 => Place::Trailer,
                size => Place::Data(size),
            },
            Place::DataEnd if line.is_empty() => Place::Size,
            Place::Trailer if line.is_empty() => Place::End,
            Place::Trailer => {
                trailer(line)?;
                self.trailers += 1;
                if self.trailers > MAX_TRAILERS {
                    return Err(Fault::Trailer);
                }
                Place::Trailer
            }
            Place::DataEnd | Place::Data(_) | Place::End => return Err(Fault::Chunk),
        };
        self.line_bytes = 0;
        Ok(())
    }
}

/// The size, without white space around it; behind a semicolon an extension, which has no meaning here.
fn size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let extension = line.get(digits.len()..).unwrap_or_default();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ' || *byte == b'\t';
    if digits.is_empty()
        || digits.len() > MAX_SIZE_DIGITS
        || !digits.iter().all(u8::is_ascii_hexdigit)
        || !extension.iter().all(is_plain)
    {
        return Err(Fault::Chunk);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Fault::Chunk)?;
    u64::from_str_radix(text, 16).map_err(|_| Fault::Chunk)
}

fn trailer(line: &[u8]) -> Result<(), Fault> {
    let (name, _) = header_line(line)?;
    let plain: Vec<u8> =
        name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect();
    let is_forbidden = FORBIDDEN_TRAILERS.iter().any(|name| name.as_bytes() == plain)
        || FORBIDDEN_PREFIXES.iter().any(|prefix| plain.starts_with(prefix.as_bytes()));
    if is_forbidden { Err(Fault::Trailer) } else { Ok(()) }
}
