use super::{
    Fault,
    body::Body,
    chunks::Chunks,
    head::{Asked, Framing, HeadScan},
    host::is_host,
    path,
};
use foldhash::fast::FixedState;
use proptest::prelude::*;

const HEAD: &[u8] =
    b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-A:\t b \r\n\r\n";
const CHUNKS: &[u8] = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";

/// Reads a head that comes in pieces of this size.
fn scan(bytes: &[u8], piece: usize) -> Result<Option<(usize, Asked)>, Fault> {
    let mut scan = HeadScan::default();
    let hasher = FixedState::default();
    for end in (piece..bytes.len()).step_by(piece).chain([bytes.len()]) {
        if let Some(whole) = scan.advance(&bytes[..end], &hasher)? {
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

/// Reads a chunked body that comes in pieces of this size: what belongs to it, and whether it is over.
fn chunks(bytes: &[u8], piece: usize) -> Result<(usize, bool), Fault> {
    let mut chunks = Chunks::new();
    let mut taken = 0;
    for piece in bytes.chunks(piece) {
        let here = chunks.take(piece)?;
        taken += here;
        if chunks.is_over() {
            break;
        }
        assert_eq!(here, piece.len());
    }
    Ok((taken, chunks.is_over()))
}

#[test]
fn a_head_ends_where_it_ends_however_it_comes() {
    let with_rest = [HEAD, b"GET / HTTP/1.1\r\n\r\n"].concat();
    for piece in 1..=with_rest.len() {
        let (end, asked) = scan(&with_rest, piece).unwrap().unwrap();
        assert_eq!((end, asked.framing), (HEAD.len(), Framing::Chunked), "in pieces of {piece}");
    }
    assert_eq!(scan(&HEAD[..HEAD.len() - 1], 7), Ok(None));
}

#[test]
fn a_chunked_body_ends_where_it_ends_however_it_comes() {
    let with_rest = [CHUNKS, b"GET / HTTP/1.1\r\n\r\n"].concat();
    for piece in 1..=with_rest.len() {
        assert_eq!(chunks(&with_rest, piece), Ok((CHUNKS.len(), true)), "in pieces of {piece}");
    }
    assert_eq!(chunks(&CHUNKS[..CHUNKS.len() - 1], 3), Ok((CHUNKS.len() - 1, false)));
}

#[test]
fn a_body_of_a_length_takes_no_byte_more() {
    let mut body = Body::new(Framing::Length(5));
    assert_eq!((body.take(b"123"), body.is_over()), (Ok(3), false));
    assert_eq!((body.take(b"45GET / HTTP/1.1"), body.is_over()), (Ok(2), true));
    assert!(Body::new(Framing::Length(0)).is_over());
}

#[test]
fn hosts_are_names_and_addresses() {
    for good in ["x", "gpu-1.example.com", "a_b", "10.0.0.1:8080", "[::1]", "[::1]:8080", "x:"] {
        assert!(is_host(good.as_bytes()), "{good}");
    }
    for bad in [
        "", ":80", "a b", "a,b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "::1", "[x]", "[::1]x", "a\0",
        "a:123456", "%61",
    ] {
        assert!(!is_host(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn plain_paths_are_plain() {
    for good in ["/", "/v1/chat/completions", "/api/chat/", "/v1/models/a%20b", "/v1/models/a..b", "/a.b/.c"]
    {
        assert!(path::is_plain(good), "{good}");
    }
    for bad in [
        "",
        "x",
        "//",
        "/a//",
        "/a//b",
        "/..",
        "/.",
        "/a/../b",
        "/a/%2E%2e",
        "/a%2Fb",
        "/a\\b",
        "/%00",
        "/%",
        "/%g0",
        "/%1",
        "/..;x/y",
    ] {
        assert!(!path::is_plain(bad), "{bad}");
    }
}

proptest! {
    /// Where a reader of pieces and a reader of the whole differ, one of them can be told another request.
    #[test]
    fn a_changed_head_is_judged_the_same_however_it_comes(
        at in 0..HEAD.len(), byte: u8, removed in 0_usize..3, piece in 1_usize..40,
    ) {
        let mut bytes = HEAD.to_vec();
        bytes.splice(at..(at + removed).min(HEAD.len()), [byte]);
        bytes.extend_from_slice(b"rest\r\n\r\n");
        let (whole, pieces) = (scan(&bytes, bytes.len()), scan(&bytes, piece));
        prop_assert_eq!(whole.is_err(), pieces.is_err());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!(whole, pieces);
        }
    }

    #[test]
    fn a_changed_body_is_judged_the_same_however_it_comes(
        at in 0..CHUNKS.len(), byte: u8, removed in 0_usize..3, piece in 1_usize..40,
    ) {
        let mut bytes = CHUNKS.to_vec();
        bytes.splice(at..(at + removed).min(CHUNKS.len()), [byte]);
        prop_assert_eq!(chunks(&bytes, bytes.len()), chunks(&bytes, piece));
    }

    /// Nothing that is read as a whole head has a line that another reader could read otherwise.
    #[test]
    fn a_head_that_passes_has_plain_lines(at in 0..HEAD.len(), bytes in proptest::collection::vec(any::<u8>(), 0..4)) {
        let mut changed = HEAD.to_vec();
        changed.splice(at..at, bytes);
        if let Ok(Some((end, _))) = scan(&changed, changed.len()) {
            let head = &changed[..end];
            for (at, &byte) in head.iter().enumerate() {
                prop_assert!(byte != 0);
                prop_assert!(byte != b'\n' || head[at - 1] == b'\r');
                prop_assert!(byte != b'\r' || head[at + 1] == b'\n');
            }
        }
    }
}
