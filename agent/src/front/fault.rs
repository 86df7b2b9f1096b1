//! What can be wrong with a request as HTTP.

/// Why a request is not even looked at. The caller is told what to mend; most of these no honest client ever sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not `METHOD target HTTP/1.x`.
    RequestLine,
    /// None of the methods that any route knows. `CONNECT` and `TRACE` are among them: there is nothing to tunnel to.
    Method,
    /// Another version than HTTP/1.0 and HTTP/1.1.
    Version,
    /// Not a plain path: an absolute URL, an authority, `*`, or characters that have no place in a target.
    Target,
    TargetTooLong,
    HeadTooLarge,
    TooManyHeaders,
    /// A line that ends in a bare LF, or has a bare CR or a NUL in it.
    LineEnd,
    /// Not `Name: value` on one line.
    Header,
    /// `Content-Length` and `Transfer-Encoding` that can be read in more than one way.
    Framing,
    /// A chunked body that is not as RFC 9112 section 7.1 has it.
    Chunk,
    /// A trailer that would have a meaning as a header.
    Trailer,
    Host,
    /// A path that a server behind could read as another one.
    Path,
    /// Another protocol is asked for on this connection.
    Upgrade,
    /// `Expect` with anything but `100-continue`.
    Expect,
    /// A compressed body.
    Encoding,
    /// One of the headers that say who calls, twice.
    Spoofed,
    /// Two readers of the same bytes saw two requests.
    Disagreement,
}

impl Fault {
    /// For the caller: what is wrong and what to do.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::RequestLine => "The request line is not `METHOD /path HTTP/1.1`.",
            Self::Method => "No route takes this method.",
            Self::Version => "This port speaks HTTP/1.1, and HTTP/2 where TLS has agreed on it.",
            Self::Target => "The request target has to be a path, such as /v1/models.",
            Self::TargetTooLong => "The request target is longer than 8192 bytes.",
            Self::HeadTooLarge => "The head of the request is larger than 32768 bytes.",
            Self::TooManyHeaders => "The request has more than 100 headers.",
            Self::LineEnd => "Lines end in CR LF, and have neither CR, LF nor NUL within.",
            Self::Header => "A header is not `Name: value` on one line.",
            Self::Framing => {
                "The length of the body is not clear: send one Content-Length, or `Transfer-Encoding: chunked`."
            }
            Self::Chunk => "The chunks of the body are malformed.",
            Self::Trailer => "The body has a trailer that may only be a header.",
            Self::Host => {
                "The request needs exactly one Host header, with a name or address and perhaps a port."
            }
            Self::Path => {
                "The path is not in its plain form: send it without `//`, `.`, `..`, `\\` and their escapes."
            }
            Self::Upgrade => "This connection can't be upgraded to another protocol.",
            Self::Expect => "Of Expect only `100-continue` is known here.",
            Self::Encoding => {
                "Compressed bodies are not taken: send the body as it is, without Content-Encoding."
            }
            Self::Spoofed => "A header that says who calls is there twice.",
            Self::Disagreement => "The request can be read in more than one way.",
        }
    }
}
