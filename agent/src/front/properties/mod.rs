//! What the front promises of any bytes: three readers of what it lets through see the same requests. One is the front,
//! one is hyper behind it, and the third is written here ([`third`]), plainly and for nothing else.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a promise that is broken is told by a panic")]

mod served;
mod third;

use super::{Fault, path::is_plain};
use served::{Served, serve};
use third::Whole;

/// Of the first byte: how the rest, which is what a caller sends, is cut into pieces.
pub fn requests(input: &[u8]) {
    let Some((&seed, sent)) = input.split_first() else { return };
    let ends = ends(sent);
    let by_request = serve(cut(sent, &ends));
    assert_agrees(sent, &by_request);

    // However it comes, it is the same.
    let mut anywhere = ends.clone();
    let step = usize::from(seed % 64) + 1;
    anywhere.extend((step..sent.len()).step_by(step));
    anywhere.sort_unstable();
    anywhere.dedup();
    let in_pieces = serve(cut(sent, &anywhere));
    assert_eq!(by_request.seen, in_pieces.seen, "in pieces of {step}");
    assert_eq!(by_request.refused.is_some(), in_pieces.refused.is_some(), "in pieces of {step}");

    // What comes before its turn is dropped, and what came in its turn is not another for it.
    let at_once = serve(cut(sent, &[]));
    assert_agrees(sent, &at_once);
    assert!(by_request.seen.starts_with(&at_once.seen), "{:?} at once", at_once.seen);
}

/// Where requests end that follow one another.
fn ends(sent: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut end = 0;
    while let Some(whole) = third::read(&sent[end..]) {
        end += whole.bytes;
        ends.push(end);
    }
    ends
}

fn cut(sent: &[u8], ends: &[usize]) -> Vec<Vec<u8>> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let ends = ends.iter().copied().chain([sent.len()]);
    starts.zip(ends).map(|(from, to)| sent[from..to].to_vec()).filter(|piece| !piece.is_empty()).collect()
}

/// Each request that hyper handed on stands in the bytes where the one before ended, and says what it was read to say.
fn assert_agrees(sent: &[u8], served: &Served) {
    let mut rest = sent;
    for seen in &served.seen {
        assert_ne!(seen.verdict, Err(Fault::Disagreement), "{}", rest.escape_ascii());
        let whole = third::read(rest);
        let Some(body) = &seen.body else {
            // It broke off: then nobody finds its end, or it ends where the front is stricter.
            let is_last = std::ptr::eq(seen, served.seen.last().unwrap());
            assert!(is_last, "a request came behind half a body: {}", rest.escape_ascii());
            return;
        };
        let Some(whole) = whole else { panic!("{seen:?} is not whole: {}", rest.escape_ascii()) };
        assert_eq!((&*seen.method, &*seen.target), (whole.method, whole.target));
        assert_eq!(**body, *whole.body, "{}", rest.escape_ascii());
        assert_eq!(seen.headers, sorted(&whole));
        if seen.verdict.is_ok() {
            assert_is_plain(&whole);
        }
        rest = &rest[whole.bytes..];
    }
}

fn sorted(whole: &Whole<'_>) -> Vec<(String, Vec<u8>)> {
    let headers = whole.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    headers
}

/// What goes on to the routes can't be taken for another request by whoever is behind.
fn assert_is_plain(whole: &Whole<'_>) {
    let all = |wanted: &str| {
        whole
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| *value)
            .collect::<Vec<_>>()
    };
    let hosts = all("host");
    assert!(hosts.len() == 1 || hosts.is_empty() && whole.version == "HTTP/1.0", "{hosts:?}");
    assert!(!hosts.iter().any(|host| host.iter().any(|c| b"/@,?#\\% \t".contains(c))), "{hosts:?}");
    assert!(all("content-length").len() + all("transfer-encoding").len() <= 1);
    assert!(all("content-encoding").iter().all(|value| value.eq_ignore_ascii_case(b"identity")));
    assert!(all("upgrade").iter().all(|value| value.eq_ignore_ascii_case(b"h2c")));
    for (name, _) in &whole.headers {
        assert!(!name.to_ascii_lowercase().starts_with("x-attach-") || all(name).len() == 1, "{name}");
    }
    let path = whole.target.split('?').next().unwrap();
    // Read as often as one likes, it stays the same path.
    let mut decoded = path.to_owned();
    for _ in 0..3 {
        assert!(is_plain(path) && decoded.split('/').all(|part| part != "." && part != ".."), "{path}");
        assert!(!decoded.contains(['\\', '\0', '\r', '\n']) && !decoded.contains("//"), "{path}");
        assert_eq!(decoded.matches('/').count(), path.matches('/').count(), "{path}");
        decoded = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_in_its_turn_is_seen_and_one_that_comes_before_it_is_not() {
        let one: &[u8] = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok";
        let both = [one, one].concat();
        assert_eq!(ends(&both), [one.len(), both.len()]);
        let seen = |ends: &[usize]| serve(cut(&both, ends)).seen.len();
        assert_eq!((seen(&[one.len()]), seen(&[])), (2, 1));
    }
}
