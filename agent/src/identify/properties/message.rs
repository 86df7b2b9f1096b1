//! The message that a wallet has signed.

use super::{super::did::message::Message, assert_fit_for_a_log};
use jiff::Timestamp;

/// What a message says stands in it once, in the order of EIP-4361, and it ends there.
pub fn message(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let message = match Message::parse(text) {
        Ok(message) => message,
        Err(problem) => return assert_fit_for_a_log(&problem),
    };
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let lines: Vec<_> = text.split('\n').collect();
    let due = format!("{} wants you to sign in with your Ethereum account:", message.domain);
    assert!(lines[0] == due || lines[0] == format!("https://{due}"), "{text}");
    let digits: String = message.account.address.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lines[1].to_ascii_lowercase(), format!("0x{digits}"));

    // Behind the address: an empty line, and another, or a statement with one around it.
    let uri = format!("URI: {}", message.uri);
    let start = lines.iter().position(|line| *line == uri).unwrap_or_default();
    let is_due = match &lines[2..start] {
        [""] | ["", ""] => true,
        ["", statement, ""] => !statement.is_empty() && !statement.starts_with("URI: "),
        _ => false,
    };
    assert!(is_due, "{text}");
    let chain = format!("Chain ID: {}", message.account.chain);
    let nonce = format!("Nonce: {}", message.nonce);
    assert_eq!(lines[start + 1..start + 4], ["Version: 1", &chain, &nonce], "{text}");
    assert!((8..=128).contains(&message.nonce.len()), "{text}");
    assert!(message.nonce.bytes().all(|c| c.is_ascii_alphanumeric()), "{text}");
    let time = |offset: usize, name: &str| {
        let text = lines.get(start + offset)?.strip_prefix(name)?;
        text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
    };
    assert_eq!(time(4, "Issued At: "), Some(message.issued));
    assert_eq!(time(5, "Expiration Time: "), Some(message.expires));
    assert_eq!(time(6, "Not Before: "), message.not_before);

    let mut rest = &lines[start + 6 + usize::from(message.not_before.is_some())..];
    if let [first, others @ ..] = rest
        && first.starts_with("Request ID: ")
    {
        rest = others;
    }
    if let ["Resources:", resources @ ..] = rest {
        assert!(resources.iter().all(|it| it.starts_with("- ") && !it.starts_with("- urn:recap:")), "{text}");
    } else {
        assert!(rest.is_empty(), "{text}");
    }
    for more in ["\n", "\nURI: https://evil.test", "\n\n"] {
        assert!(Message::parse(&format!("{text}{more}")).is_err(), "{text}");
    }
    assert!(Message::parse(&text.replace('\n', "\r\n")).is_err(), "{text}");
}
