//! A signed token (RFC 7519) in its compact form, and the policy for its header. Nothing here is verified yet.

use super::{
    excerpt::Excerpt,
    fault::IdentityFault,
    json::{JsonFault, parse_object},
    key::MAX_KEY_ID_BYTES,
};
use attach_proto::bundle::Algorithm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    /// What the signature is over: both parts as they were sent, with the dot between (RFC 7515 section 5.2).
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// Whether it says of itself that it is an access token (RFC 9068 section 2.1).
    pub(super) is_at_jwt: bool,
}

/// A signed token taken apart, its header still unread.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    pub(super) header: Vec<u8>,
    payload: &'a str,
    pub(super) signed: &'a [u8],
    signature: &'a str,
}

impl<'a> Token<'a> {
    /// # Errors
    /// The first rule of RFC 7515 or RFC 8725 that the token's form or header breaks; `UnknownApiKey` for what has no
    /// form of a token at all.
    pub(super) fn parse(text: &'a str) -> Result<Self, IdentityFault> {
        let compact = Compact::split(text)?;
        // First, so that a token without a signature is told what it says of itself.
        let header = Header::parse(&compact.header)?;
        let (payload, signature) = (compact.payload()?, compact.signature()?);
        Ok(Self { header, payload, signed: compact.signed, signature })
    }
}

impl<'a> Compact<'a> {
    /// # Errors
    /// As those of [`Token::parse`], but for the header.
    pub(super) fn split(text: &'a str) -> Result<Self, IdentityFault> {
        // RFC 7516 section 9: an encrypted token has five parts.
        if text.bytes().filter(|&byte| byte == b'.').count() == 4 {
            return Err(IdentityFault::Encrypted);
        }
        // A fourth part would lie in the payload's, whose alphabet has no dot. What has two parts or one does not mean
        // to be a token, and can only have been a key.
        let parts =
            text.rsplit_once('.').and_then(|(signed, last)| Some((signed, signed.split_once('.')?, last)));
        let (signed, (header, payload), signature) = parts.ok_or(IdentityFault::UnknownApiKey)?;
        Ok(Self { header: decode(header, "header")?, payload, signed: signed.as_bytes(), signature })
    }

    pub(super) fn payload(&self) -> Result<Vec<u8>, IdentityFault> {
        decode(self.payload, "payload")
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, IdentityFault> {
        decode(self.signature, "signature")
    }
}

impl Header {
    pub(super) fn parse(json: &[u8]) -> Result<Self, IdentityFault> {
        let members = parse_object(json).map_err(|fault| match fault {
            JsonFault::Duplicate(name) => IdentityFault::HeaderDuplicate(Excerpt::of(&name)),
            JsonFault::NotJson | JsonFault::NotAnObject => IdentityFault::HeaderNotJson,
        })?;
        refuse_extensions(&members)?;
        let is_at_jwt = read_type(&members)?;
        let name = members.get("alg").and_then(Value::as_str).ok_or(IdentityFault::HeaderType("alg"))?;
        let algorithm = Algorithm::from_name(name)
            .ok_or_else(|| IdentityFault::AlgorithmNotAllowed(Excerpt::of(name)))?;
        let key_id = text(&members, "kid")?.map(str::to_owned);
        if let Some(bytes) = key_id.as_ref().map(String::len)
            && bytes > MAX_KEY_ID_BYTES
        {
            return Err(IdentityFault::KeyIdTooLong { bytes, max: MAX_KEY_ID_BYTES });
        }
        Ok(Self { algorithm, key_id, is_at_jwt })
    }
}

/// The alphabet is exact, without padding and without stray bits in the last character, so that one token has one
/// spelling (RFC 7515 section 2).
fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, IdentityFault> {
    match URL_SAFE_NO_PAD.decode(part) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        Ok(_) | Err(_) => Err(IdentityFault::Malformed { part: name }),
    }
}

/// Members that change how the token is to be read, or where its key is to be had. Each is refused whatever its
/// value. Others that we do not know must be ignored (RFC 7515 section 4).
fn refuse_extensions(members: &Map<String, Value>) -> Result<(), IdentityFault> {
    let present = |name: &str| members.contains_key(name);
    if present("crit") {
        return Err(IdentityFault::CritPresent);
    }
    if present("b64") {
        return Err(IdentityFault::Unencoded);
    }
    if present("zip") {
        return Err(IdentityFault::Compressed);
    }
    if present("cty") {
        return Err(IdentityFault::Nested);
    }
    if present("enc") {
        return Err(IdentityFault::Encrypted);
    }
    // RFC 8725 section 3.10. Thumbprints (`x5t`) only name a certificate, and Entra ID sends them.
    match ["jku", "jwk", "x5u", "x5c"].into_iter().find(|name| present(name)) {
        Some(name) => Err(IdentityFault::EmbeddedKey(name)),
        None => Ok(()),
    }
}

/// Other kinds of token that the same issuer signs with the same key say so here (RFC 8725 section 3.11); media
/// types compare without regard to case, and `application/` may be left out (RFC 7515 section 4.1.9).
fn read_type(members: &Map<String, Value>) -> Result<bool, IdentityFault> {
    let Some(found) = text(members, "typ")? else {
        return Ok(false);
    };
    if ["at+jwt", "application/at+jwt"].iter().any(|name| name.eq_ignore_ascii_case(found)) {
        Ok(true)
    } else if found.eq_ignore_ascii_case("JWT") {
        Ok(false)
    } else {
        Err(IdentityFault::TypeNotAllowed(Excerpt::of(found)))
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, IdentityFault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(IdentityFault::HeaderType(name)),
    }
}
