//! Decentralized identifiers (W3C DID Core) of the methods that gateways verify.
//!
//! A DID is a public name and proves nothing by itself. What proves it follows from its method: `did:key` is a public key,
//! `did:pkh` the address of an account, `did:web` a document at a domain.

mod policy;
#[cfg(test)]
mod tests;

pub use policy::{AllowedDids, DidPolicy};

use std::{fmt, str::FromStr};
use thiserror::Error;
use url::{Host, Url};

/// Of `did:key` the longest has 57 characters; of `did:web` a domain of 253 may stand alone.
pub const MAX_DID_BYTES: usize = 512;

/// In its one spelling: equal DIDs are equal texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did {
    text: String,
    method: Method,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Key(PublicKey),
    Pkh(Account),
    /// Where its document is.
    Web(Url),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    pub kind: KeyKind,
    /// 32 bytes of Ed25519, or a compressed point (SEC 1 section 2.3.3) of 33. Whether the point is on its curve is for
    /// whoever verifies with it.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    Ed25519,
    P256,
    Secp256k1,
}

/// Of an Ethereum-like chain (CAIP-10, namespace `eip155`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    pub chain: u64,
    pub address: [u8; 20],
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidDid {
    #[error("does not begin with did:")]
    NoDid,
    #[error("has {0} bytes, more than {MAX_DID_BYTES}")]
    TooLong(usize),
    #[error("has a path, a query or a fragment, and is then no DID but a URL of one")]
    NotAlone,
    #[error("is of a method that is not verified here; did:key, did:pkh and did:web are")]
    Method,
    #[error("is not written in base58btc, with a z before it")]
    Base58,
    #[error("is of a kind of key that is not verified here; Ed25519, P-256 and secp256k1 are")]
    KeyKind,
    #[error("has a key of {found} bytes where {expected} were due")]
    KeyLength { found: usize, expected: usize },
    #[error("has a point that is not in its compressed form")]
    NotCompressed,
    #[error("is not an account of the form eip155:CHAIN:0xADDRESS")]
    Account,
    #[error("is not a domain name in lower case, with an optional %3APORT and :path:parts")]
    Web,
}

impl KeyKind {
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::P256, Self::Secp256k1];

    /// As the varint of the multicodec table. The prefix is compared byte by byte: a longer form of the same number is
    /// another text for the same key, and refused.
    fn multicodec(self) -> [u8; 2] {
        match self {
            Self::Ed25519 => [0xed, 0x01],
            Self::P256 => [0x80, 0x24],
            Self::Secp256k1 => [0xe7, 0x01],
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::P256 | Self::Secp256k1 => 33,
        }
    }
}

impl Did {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Whether strangers choose what is fetched for it.
    pub fn is_web(&self) -> bool {
        matches!(self.method, Method::Web(_))
    }

    /// # Errors
    ///
    /// A key that is not as long as its kind, or not compressed.
    pub fn of_key(kind: KeyKind, bytes: &[u8]) -> Result<Self, InvalidDid> {
        let key = PublicKey::new(kind, bytes)?;
        let encoded = bs58::encode([&kind.multicodec(), bytes].concat()).into_string();
        Ok(Self { text: format!("did:key:z{encoded}"), method: Method::Key(key) })
    }

    pub fn of_account(account: Account) -> Self {
        let digits: String = account.address.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: format!("did:pkh:eip155:{}:0x{digits}", account.chain), method: Method::Pkh(account) }
    }
}

impl FromStr for Did {
    type Err = InvalidDid;

    fn from_str(text: &str) -> Result<Self, InvalidDid> {
        let rest = text.strip_prefix("did:").ok_or(InvalidDid::NoDid)?;
        if text.len() > MAX_DID_BYTES {
            return Err(InvalidDid::TooLong(text.len()));
        }
        if text.contains(['#', '?', '/', ';']) {
            return Err(InvalidDid::NotAlone);
        }
        match rest.split_once(':').ok_or(InvalidDid::Method)? {
            ("key", id) => key(id),
            ("pkh", id) => account(id).map(Self::of_account).ok_or(InvalidDid::Account),
            ("web", id) => {
                let document = document_address(id).ok_or(InvalidDid::Web)?;
                Ok(Self { text: text.to_owned(), method: Method::Web(document) })
            }
            _ => Err(InvalidDid::Method),
        }
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PublicKey {
    fn new(kind: KeyKind, bytes: &[u8]) -> Result<Self, InvalidDid> {
        // SEC 1 section 2.3.3: an uncompressed point begins with 4.
        if kind != KeyKind::Ed25519 && !matches!(bytes, [2 | 3, ..]) {
            return Err(InvalidDid::NotCompressed);
        }
        if bytes.len() != kind.length() {
            return Err(InvalidDid::KeyLength { found: bytes.len(), expected: kind.length() });
        }
        Ok(Self { kind, bytes: bytes.to_vec() })
    }
}

/// The did:key Method v0.9, section 3: multibase, multicodec, raw key.
fn key(id: &str) -> Result<Did, InvalidDid> {
    let encoded = id.strip_prefix('z').ok_or(InvalidDid::Base58)?;
    let bytes = bs58::decode(encoded).into_vec().map_err(|_| InvalidDid::Base58)?;
    let (prefix, key) = bytes.split_first_chunk::<2>().ok_or(InvalidDid::KeyKind)?;
    let kind = KeyKind::ALL.into_iter().find(|kind| kind.multicodec() == *prefix);
    Did::of_key(kind.ok_or(InvalidDid::KeyKind)?, key)
}

/// CAIP-10. An address means the same in any case, and a chain's number has no leading zeros.
fn account(id: &str) -> Option<Account> {
    let (chain, address) = id.strip_prefix("eip155:")?.split_once(':')?;
    let number: u64 = chain.parse().ok()?;
    if number.to_string() != chain {
        return None;
    }
    Some(Account { chain: number, address: ethereum_address(address)? })
}

/// `0x` and 40 hexadecimal digits, in whatever case.
pub fn ethereum_address(text: &str) -> Option<[u8; 20]> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() != 40 {
        return None;
    }
    let mut address = [0; 20];
    for (byte, pair) in address.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |index: usize| char::from(*pair.get(index)?).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(address)
}

/// did:web Method, section "Read (Resolve)". Only names: its text says that addresses are not to be used.
fn document_address(id: &str) -> Option<Url> {
    let (authority, path) = match id.split_once(':') {
        Some((authority, path)) => (authority, Some(path)),
        None => (id, None),
    };
    let (host, port) = match authority.split_once("%3A") {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|it| it.to_string() == port)?)),
        None => (authority, None),
    };
    let is_plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let parts: Vec<_> = path.map(|path| path.split(':').collect()).unwrap_or_default();
    if !is_plain(host) || parts.iter().any(|part| !is_plain(part) || matches!(*part, "." | "..")) {
        return None;
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let below = if parts.is_empty() { ".well-known".to_owned() } else { parts.join("/") };
    let url = Url::parse(&format!("https://{host}{port}/{below}/did.json")).ok()?;
    // The parser would make one host of many spellings; there is one.
    (url.host() == Some(Host::Domain(host)) && host.contains('.')).then_some(url)
}
