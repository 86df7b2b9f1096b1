//! Requests as attackers and broken proxies write them.

use super::KEY;

/// A request, what it is answered with, and how many requests the engine may see of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) status: u16,
    pub(super) seen: usize,
}

const BODY: &str = r#"{"model":"tiny","messages":[{"role":"user","content":"mine"}]}"#;

/// What is to be smuggled: it has no credential, so an engine that sees it saw what nobody was authorised for.
const SMUGGLED: &str = "GET /api/tags?smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// A chat with these headers and this body.
fn post(headers: &str, body: &str) -> Vec<u8> {
    post_to("/v1/chat/completions HTTP/1.1", &format!("Host: x\r\n{headers}"), body)
}

fn post_to(target: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("POST {target}\r\nAuthorization: Bearer {KEY}\r\n{headers}\r\n{body}").into_bytes()
}

/// A chat of the right length, with more headers.
fn chat(headers: &str) -> Vec<u8> {
    post(&format!("Content-Length: {}\r\n{headers}", BODY.len()), BODY)
}

fn get(line: &str, headers: &str) -> Vec<u8> {
    format!("GET {line}\r\nAuthorization: Bearer {KEY}\r\n{headers}\r\n").into_bytes()
}

fn path(target: &str) -> Vec<u8> {
    get(&format!("{target} HTTP/1.1"), "Host: x\r\n")
}

fn hosts(headers: &str) -> Vec<u8> {
    get("/api/tags HTTP/1.1", headers)
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

/// The body as one chunk, with what stands behind its size and behind its end.
fn one_chunk(extension: &str, trailers: &str) -> String {
    format!("{:x}{extension}\r\n{BODY}\r\n0\r\n{trailers}\r\n", BODY.len())
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replacen(from, to, 1).into_bytes()
}

pub(super) fn all() -> Vec<Case> {
    let length = BODY.len();
    let zero_then_smuggled = format!("0\r\n\r\n{SMUGGLED}");
    let refused = |name, status, bytes| Case { name, bytes, status, seen: 0 };
    let served = |name, bytes| Case { name, bytes, status: 200, seen: 1 };
    vec![
        // Where a body ends.
        refused(
            "length and chunks",
            400,
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &zero_then_smuggled),
        ),
        refused(
            "chunks and length",
            400,
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &zero_then_smuggled),
        ),
        refused(
            "two lengths that differ",
            400,
            post(&format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), BODY),
        ),
        refused(
            "two lengths that agree",
            400,
            post(&format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"), BODY),
        ),
        refused("a list of lengths", 400, post(&format!("Content-Length: {length}, {length}\r\n"), BODY)),
        refused("a length with a sign", 400, post(&format!("Content-Length: +{length}\r\n"), BODY)),
        refused("a negative length", 400, post("Content-Length: -1\r\n", BODY)),
        refused("a hexadecimal length", 400, post("Content-Length: 0x3f\r\n", BODY)),
        refused("a length with a fraction", 400, post("Content-Length: 63.0\r\n", BODY)),
        refused("an empty length", 400, post("Content-Length: \r\n", BODY)),
        refused("a length of more than 64 bits", 400, post("Content-Length: 99999999999999999999\r\n", BODY)),
        refused("a length beyond every limit", 413, post("Content-Length: 9999999999\r\n", BODY)),
        refused(
            "white space before a colon",
            400,
            post("Transfer-Encoding : chunked\r\n", &zero_then_smuggled),
        ),
        refused("a tab before a colon", 400, post("Content-Length\t: 5\r\n", BODY)),
        refused("another coding", 400, post("Transfer-Encoding: xchunked\r\n", &zero_then_smuggled)),
        refused(
            "a coding before chunked",
            400,
            post("Transfer-Encoding: gzip, chunked\r\n", &zero_then_smuggled),
        ),
        refused(
            "identity before chunked",
            400,
            post("Transfer-Encoding: identity, chunked\r\n", &zero_then_smuggled),
        ),
        refused(
            "chunked before identity",
            400,
            post("Transfer-Encoding: chunked, identity\r\n", &zero_then_smuggled),
        ),
        refused(
            "chunked twice on two lines",
            400,
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &zero_then_smuggled),
        ),
        refused(
            "chunked and then another coding",
            400,
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", &zero_then_smuggled),
        ),
        refused("chunked in quotes", 400, post("Transfer-Encoding: \"chunked\"\r\n", &zero_then_smuggled)),
        refused(
            "chunked behind a vertical tab",
            400,
            post("Transfer-Encoding: \x0bchunked\r\n", &zero_then_smuggled),
        ),
        refused("an empty coding", 400, post("Transfer-Encoding: \r\n", &zero_then_smuggled)),
        refused(
            "chunks by HTTP/1.0",
            400,
            post_to(
                "/v1/chat/completions HTTP/1.0",
                "Host: x\r\nTransfer-Encoding: chunked\r\n",
                &zero_then_smuggled,
            ),
        ),
        Case {
            name: "a second request behind the first",
            bytes: [chat(""), SMUGGLED.into()].concat(),
            status: 200,
            seen: 1,
        },
        Case {
            name: "bytes that are no request behind the first",
            bytes: [chat(""), b"\0\0\0".into()].concat(),
            status: 200,
            seen: 1,
        },
        Case {
            name: "a second request behind the last chunk",
            bytes: chunked(&format!("{}{SMUGGLED}", one_chunk("", ""))),
            status: 200,
            seen: 1,
        },
        Case {
            name: "a body that a GET did not announce",
            bytes: [path("/api/tags"), SMUGGLED.into()].concat(),
            status: 200,
            seen: 1,
        },
        // Chunks.
        served("upper-case chunked", post("Transfer-Encoding: CHUNKED\r\n", &one_chunk("", ""))),
        served("an extension of a chunk", chunked(&one_chunk(";name=value", ""))),
        served("a harmless trailer", chunked(&one_chunk("", "X-Checksum: 1\r\n"))),
        refused(
            "a long extension of a chunk",
            400,
            chunked(&one_chunk(&format!(";{}", "x".repeat(300)), "")),
        ),
        refused("an extension with a bare LF", 400, chunked(&one_chunk(";a\nb", ""))),
        refused("an extension with a bare CR", 400, chunked(&one_chunk(";a\rb", ""))),
        refused("a chunk size with 0x", 400, chunked(&format!("0x{}", one_chunk("", "")))),
        refused("a chunk size with a sign", 400, chunked(&format!("+{}", one_chunk("", "")))),
        refused("a chunk size with white space", 400, chunked(&one_chunk(" ", ""))),
        refused(
            "a chunk size that overflows",
            400,
            chunked(&format!("fffffffffffffff{}", one_chunk("", ""))),
        ),
        refused("an empty chunk size", 400, chunked(&format!("\r\n{}", one_chunk("", "")))),
        refused("a chunk that ends in a bare LF", 400, chunked(&format!("{length:x}\n{BODY}\n0\n\n"))),
        refused("a chunk that is longer than its size", 400, chunked(&format!("5\r\n{BODY}\r\n0\r\n\r\n"))),
        refused("a trailer that frames", 400, chunked(&one_chunk("", "Content-Length: 5\r\n"))),
        refused("a trailer that says who calls", 400, chunked(&one_chunk("", "X_Attach-User: root\r\n"))),
        refused("a trailer with a credential", 400, chunked(&one_chunk("", "Authorization: Bearer x\r\n"))),
        refused("a trailer without a colon", 400, chunked(&one_chunk("", "nothing\r\n"))),
        // Lines.
        refused("lines that end in a bare LF", 400, replaced(&path("/api/tags"), "\r\n", "\n")),
        refused("a head that ends in a bare LF", 400, b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\n".into()),
        refused("a bare CR in a value", 400, chat("X-A: a\rTransfer-Encoding: chunked\r\n")),
        refused("lines that end in a bare CR", 400, b"GET /api/tags HTTP/1.1\rHost: x\r\r".into()),
        refused("a NUL in a value", 400, chat("X-A: a\0b\r\n")),
        refused("a NUL in a name", 400, chat("X\0A: b\r\n")),
        refused("a control character in a value", 400, chat("X-A: a\x01b\r\n")),
        refused("a folded line", 400, chat("X-A: a\r\n b\r\n")),
        refused("a folded line with a tab", 400, chat("X-A: a\r\n\tTransfer-Encoding: chunked\r\n")),
        refused(
            "a folded first header",
            400,
            replaced(&path("/api/tags"), "Authorization", " Authorization"),
        ),
        refused("a header without a colon", 400, chat("nothing\r\n")),
        refused("a header without a name", 400, chat(": value\r\n")),
        refused("a name with a space", 400, chat("X A: b\r\n")),
        refused("a name that is not ASCII", 400, chat("X-\u{e9}: b\r\n")),
        served("an empty line before the request", [b"\r\n".to_vec(), chat("")].concat()),
        refused("two empty lines before the request", 400, [b"\r\n\r\n".to_vec(), chat("")].concat()),
        // Hosts.
        refused("no host", 400, hosts("")),
        refused("two hosts", 400, hosts("Host: x\r\nHost: y\r\n")),
        refused("two hosts that agree", 400, hosts("Host: x\r\nHost: x\r\n")),
        refused("an empty host", 400, hosts("Host: \r\n")),
        refused("a list of hosts", 400, hosts("Host: x, y\r\n")),
        refused("a host with a user", 400, hosts("Host: user@x\r\n")),
        refused("a host with a path", 400, hosts("Host: x/y\r\n")),
        refused("a host with a port that is none", 400, hosts("Host: x:80a\r\n")),
        refused("a host that is half an address", 400, hosts("Host: [::1\r\n")),
        served("a host that is an IPv6 address", hosts("Host: [::1]:8080\r\n")),
        // Targets.
        refused("an absolute target", 400, path("http://x/api/tags")),
        refused("an absolute target of another host", 400, path("http://internal/api/tags")),
        refused("an authority as target", 400, path("x:80")),
        refused("an asterisk as target", 400, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".into()),
        refused("a fragment", 400, path("/api/tags#x")),
        refused("a target with a space", 400, path("/api/tags x")),
        refused("a target with a tab", 400, path("/api/\ttags")),
        refused("a target that is not ASCII", 400, path("/api/t\u{e4}gs")),
        refused("parent segments", 400, path("/v1/../api/tags")),
        refused("a dot segment", 400, path("/./api/tags")),
        refused("escaped dots", 400, path("/v1/%2e%2e/api/tags")),
        refused("escaped dots in upper case", 400, path("/v1/%2E./api/tags")),
        refused("dots with a parameter", 400, path("/v1/..;/api/tags")),
        refused("a double slash", 400, path("//api/tags")),
        refused("a double slash within", 400, path("/api//tags")),
        refused("an escaped slash", 400, path("/api%2ftags")),
        refused("a backslash", 400, path("/api\\tags")),
        refused("an escaped backslash", 400, path("/api%5ctags")),
        refused("an escaped NUL", 400, path("/api/tags%00")),
        refused("an escaped escape", 400, path("/v1/%252e%252e/api/tags")),
        refused("half an escape", 400, path("/api/tags%2")),
        refused("a target of 9 KiB", 414, path(&format!("/api/tags?{}", "x".repeat(9 << 10)))),
        refused("a request line without an end", 414, format!("GET /{}", "x".repeat(9 << 10)).into()),
        // Methods and versions.
        refused("a method in lower case", 400, replaced(&path("/api/tags"), "GET", "get")),
        refused("an unknown method", 501, replaced(&path("/api/tags"), "GET", "BREW")),
        refused("CONNECT", 501, b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n".into()),
        refused("TRACE", 501, replaced(&path("/api/tags"), "GET", "TRACE")),
        refused("HTTP/0.9", 400, b"GET /api/tags\r\n\r\n".into()),
        refused("HTTP/1.2", 505, get("/api/tags HTTP/1.2", "Host: x\r\n")),
        refused("HTTP/3.0", 505, get("/api/tags HTTP/3.0", "Host: x\r\n")),
        refused("a version in lower case", 400, get("/api/tags http/1.1", "Host: x\r\n")),
        refused("two spaces before the version", 400, get("/api/tags  HTTP/1.1", "Host: x\r\n")),
        refused("HTTP/2 without having agreed on it", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        refused("TLS on a port without", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".into()),
        // Sizes.
        refused("a header of 40 KiB", 431, chat(&format!("X-A: {}\r\n", "x".repeat(40 << 10)))),
        refused(
            "headers of 40 KiB together",
            431,
            chat(&"X-A: 0123456789012345678901234567890123456789\r\n".repeat(900)),
        ),
        refused("101 headers", 431, chat(&"X-A: b\r\n".repeat(101))),
        served("a header of 16 KiB", chat(&format!("X-A: {}\r\n", "x".repeat(16 << 10)))),
        // Other protocols, and what is asked of a server.
        refused(
            "a websocket",
            400,
            get(
                "/api/tags HTTP/1.1",
                "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
        ),
        refused(
            "an unknown upgrade",
            400,
            get("/api/tags HTTP/1.1", "Host: x\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n"),
        ),
        served(
            "h2c is not heard",
            get(
                "/api/tags HTTP/1.1",
                "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            ),
        ),
        refused("an unknown expectation", 417, chat("Expect: 200-ok\r\n")),
        refused("a compressed body", 415, chat("Content-Encoding: gzip\r\n")),
        served("a body that says it is not compressed", chat("Content-Encoding: identity\r\n")),
        // Who calls.
        refused("two headers of who calls", 400, chat("X-Attach-User: root\r\nX-Attach-User: alice\r\n")),
        served("a header of who calls goes no further", chat("X-Attach-User: root\r\n")),
        served("nor does one with underscores", chat("X_Attach_User: root\r\nX_Attach-Tenant: other\r\n")),
        served(
            "a framing header with underscores goes no further",
            chat("Content_Length: 0\r\nTransfer_Encoding: chunked\r\n"),
        ),
    ]
}
