//! A message that a wallet has signed: Sign-In with Ethereum (EIP-4361), which is CAIP-122 for `eip155`.
//!
//! It comes as `caip122.MESSAGE.SIGNATURE`, both parts in base64url without padding: the exact bytes that were signed, and
//! the 65 of `personal_sign`.

use super::{
    super::{
        check::{self, Check},
        excerpt::Excerpt,
        fault::IdentityFault,
        prove::Evidence,
        witness::Witness,
    },
    Proven,
    account::{SIGNATURE_BYTES, checksummed, signer},
    proven, tenant_of,
    times::Times,
};
use attach_proto::did::{Account, Did, ethereum_address};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use std::iter::Peekable;

/// EIP-4361: at least eight, so that they cannot be guessed; a UUID has 32.
const NONCE_CHARACTERS: std::ops::RangeInclusive<usize> = 8..=128;

/// What we take from it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::identify) struct Message<'a> {
    pub(in crate::identify) domain: &'a str,
    pub(in crate::identify) account: Account,
    pub(in crate::identify) uri: &'a str,
    pub(in crate::identify) nonce: &'a str,
    pub(in crate::identify) issued: i64,
    pub(in crate::identify) expires: i64,
    pub(in crate::identify) not_before: Option<i64>,
}

pub(super) fn verify<W: Witness>(
    text: &str,
    evidence: Evidence<'_>,
    witness: &mut W,
) -> Result<Proven, IdentityFault> {
    let parts = text.split_once('.').ok_or(IdentityFault::Malformed { part: "message" });
    let parts = parts.and_then(|(encoded, signature)| Ok((decode(encoded, "message")?, signature)));
    let (bytes, signature) = witness.must(&[Check::Form], parts)?;
    let signature = decode(signature, "signature")
        .and_then(|it| it.try_into().map_err(|_| IdentityFault::Malformed { part: "signature" }));
    let signature: [u8; SIGNATURE_BYTES] = witness.must(&[Check::Parts], signature)?;
    let text = str::from_utf8(&bytes).map_err(|_| IdentityFault::BadMessage("it is not UTF-8"));
    let message = text.and_then(|text| Ok((text, Message::parse(text).map_err(IdentityFault::BadMessage)?)));
    let (text, message) = witness.must(&[Check::Message], message)?;

    let did = Did::of_account(message.account);
    let meant = tenant_of(&did, &[message.uri], evidence.snapshot);
    let (tenant, policy) = witness.must(check::DID_MEANT, meant)?;
    let is_known = policy.domains.iter().any(|domain| domain == message.domain);
    let known =
        if is_known { Ok(()) } else { Err(IdentityFault::MessageDomain(Excerpt::of(message.domain))) };
    witness.may(&[Check::Domain], known, Some(()))?;
    let times = Times { issued: message.issued, expires: message.expires, not_before: message.not_before };
    witness.may(check::DID_TIMES, times.check(evidence.clock.now(), policy), Some(()))?;
    let verified = if signer(text, &signature) == Some(message.account.address) {
        Ok(())
    } else {
        Err(IdentityFault::BadSignature { issuer: Excerpt::of(did.as_str()), kid: Excerpt::of("") })
    };
    witness.must(&[Check::Signature], verified)?;
    proven(&did, (tenant, policy), Some(message.nonce), &times, evidence, witness)
}

fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, IdentityFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| IdentityFault::Malformed { part: name })
}

impl<'a> Message<'a> {
    /// The grammar of EIP-4361, line by line, and nothing behind it. Chain and account come from the message, and are
    /// proved by its signature.
    pub(in crate::identify) fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err("it has a control character");
        }
        let mut lines = text.split('\n').peekable();
        let first = lines
            .next()
            .and_then(|line| line.strip_suffix(" wants you to sign in with your Ethereum account:"));
        let origin = first.ok_or("its first line is not that of a sign-in")?;
        let domain = origin.strip_prefix("https://").unwrap_or(origin);
        let written = lines.next().unwrap_or_default();
        let address = ethereum_address(written).ok_or("its second line is no address")?;
        if checksummed(address) != written {
            return Err("its address is not in the capitals of EIP-55");
        }
        skip_statement(&mut lines)?;

        let mut field = |name: &str| {
            let value = lines.peek()?.strip_prefix(name)?.strip_prefix(": ")?;
            lines.next();
            Some(value)
        };
        let uri = field("URI").ok_or("it has no URI where one is due")?;
        if field("Version") != Some("1") {
            return Err("its version is not 1");
        }
        let chain = field("Chain ID").and_then(chain_id).ok_or("it has no Chain ID")?;
        let nonce = field("Nonce").ok_or("it has no Nonce")?;
        let is_nonce =
            NONCE_CHARACTERS.contains(&nonce.len()) && nonce.bytes().all(|c| c.is_ascii_alphanumeric());
        if !is_nonce {
            return Err("its Nonce has not 8 to 128 letters and digits");
        }
        let issued =
            field("Issued At").and_then(time).ok_or("it has no Issued At, as RFC 3339 writes times")?;
        let expires =
            field("Expiration Time").ok_or("it has no Expiration Time, and would be good for ever")?;
        let expires = time(expires).ok_or("its Expiration Time is not as RFC 3339 writes times")?;
        let not_before = match field("Not Before") {
            None => None,
            Some(text) => Some(time(text).ok_or("its Not Before is not as RFC 3339 writes times")?),
        };
        field("Request ID");
        if lines.next_if_eq(&"Resources:").is_some() {
            // A capability (EIP-5573) gives less than all or more than a sign-in; who reads past it gives what was not meant.
            while let Some(resource) = lines.next_if(|line| line.starts_with("- ")) {
                if resource.starts_with("- urn:recap:") {
                    return Err("it delegates a capability, which is not understood here");
                }
            }
        }
        if lines.next().is_some() {
            return Err("it has a line where none is due");
        }
        let account = Account { chain, address };
        Ok(Self { domain, account, uri, nonce, issued, expires, not_before })
    }
}

/// An empty line, then perhaps a statement and another. Without a statement some libraries write one empty line, and some
/// the two of the grammar.
fn skip_statement<'a>(lines: &mut Peekable<impl Iterator<Item = &'a str>>) -> Result<(), &'static str> {
    let due = "it has no empty line where one is due";
    lines.next_if_eq(&"").ok_or(due)?;
    if lines.next_if_eq(&"").is_some() || lines.peek().is_some_and(|line| line.starts_with("URI: ")) {
        return Ok(());
    }
    lines.next();
    lines.next_if_eq(&"").map(drop).ok_or(due)
}

fn chain_id(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

fn time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}
