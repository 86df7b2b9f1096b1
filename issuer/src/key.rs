//! One public key of an issuer (RFC 7517), and the policy that decides whether it may verify anything.

use crate::json::{JsonFault, parse_object};
use attach_proto::bundle::Algorithm;
use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use thiserror::Error;

/// Key ids are names that an issuer chose: thumbprints, UUIDs, at times a URL.
pub const MAX_KEY_ID_BYTES: usize = 1024;

/// RFC 7518 section 3.3 asks for 2048 bits at least; above 8192 one verification costs milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA_ALGORITHMS: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

#[derive(Debug)]
pub struct Key {
    pub id: Option<String>,
    /// Parsed once for each algorithm that the key may verify; never empty.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

/// Why a key of a set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFault {
    #[error("is not a JSON object without duplicates")]
    NotAnObject,
    #[error("has a `{0}` of a wrong type")]
    Member(&'static str),
    #[error("has an id longer than {MAX_KEY_ID_BYTES} bytes")]
    IdTooLong,
    #[error("is a symmetric key")]
    Symmetric,
    #[error("shows its private part `{0}`")]
    Private(&'static str),
    #[error("is not for signatures (`use`)")]
    Use,
    #[error("is not for verifying (`key_ops`)")]
    Operations,
    #[error("is of a kind or curve that no known algorithm uses")]
    Kind,
    #[error("names an algorithm that is unknown or not of its kind")]
    Algorithm,
    #[error("has an RSA modulus of {0} bits, not 2048 to 8192")]
    ModulusSize(usize),
    #[error("has an RSA exponent that is even or below 3")]
    Exponent,
    #[error("has an RSA modulus made by a generator whose keys can be factored (CVE-2017-15361)")]
    Roca,
    #[error("is no valid public key")]
    Invalid,
    #[error("shares its id with another key")]
    DuplicateId,
}

impl Key {
    pub fn parse(json: &[u8]) -> Result<Self, KeyFault> {
        let members = parse_object(json).map_err(|fault| match fault {
            JsonFault::NotJson | JsonFault::NotAnObject | JsonFault::Duplicate(_) => KeyFault::NotAnObject,
        })?;
        let id = text(&members, "kid")?.map(str::to_owned);
        if id.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID_BYTES) {
            return Err(KeyFault::IdTooLong);
        }
        let kind = text(&members, "kty")?.ok_or(KeyFault::Member("kty"))?;
        if kind == "oct" {
            return Err(KeyFault::Symmetric);
        }
        check_purpose(&members)?;
        let curve = text(&members, "crv")?.unwrap_or_default();
        let verifiers = match (kind, curve) {
            ("RSA", _) => rsa(&members)?,
            ("EC", "P-256") => vec![(Algorithm::Es256, point(&members, 32, &ECDSA_P256_SHA256_FIXED)?)],
            ("EC", "P-384") => vec![(Algorithm::Es384, point(&members, 48, &ECDSA_P384_SHA384_FIXED)?)],
            ("EC", "P-521") => vec![(Algorithm::Es512, point(&members, 66, &ECDSA_P521_SHA512_FIXED)?)],
            ("OKP", "Ed25519") => {
                let x = exactly(&members, "x", 32)?;
                vec![(Algorithm::EdDsa, ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyFault::Invalid)?)]
            }
            _ => return Err(KeyFault::Kind),
        };
        let verifiers = narrow(verifiers, text(&members, "alg")?)?;
        Ok(Self { id, verifiers })
    }

    pub fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers.iter().find(|(known, _)| *known == algorithm).map(|(_, key)| key)
    }

    /// Equal for equal keys: what the generation of a set goes by.
    pub fn identity(&self) -> Vec<u8> {
        let mut identity = format!("{:?}", self.id).into_bytes();
        for (algorithm, key) in &self.verifiers {
            identity.push(b'\n');
            identity.extend_from_slice(algorithm.name().as_bytes());
            identity.extend_from_slice(key.as_ref());
        }
        identity
    }
}

fn check_purpose(members: &Map<String, Value>) -> Result<(), KeyFault> {
    // A published private key is everyone's: whatever it verifies proves nothing.
    if let Some(name) =
        ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].into_iter().find(|name| members.contains_key(*name))
    {
        return Err(KeyFault::Private(name));
    }
    if text(members, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyFault::Use);
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|it| it == "verify") => Ok(()),
        Some(_) => Err(KeyFault::Operations),
    }
}

/// A key that names its algorithm verifies that one and no other (RFC 8725 section 3.1).
fn narrow(
    mut verifiers: Vec<(Algorithm, ParsedPublicKey)>,
    named: Option<&str>,
) -> Result<Vec<(Algorithm, ParsedPublicKey)>, KeyFault> {
    if let Some(named) = named {
        verifiers.retain(|(algorithm, _)| algorithm.name() == named);
    }
    if verifiers.is_empty() { Err(KeyFault::Algorithm) } else { Ok(verifiers) }
}

fn rsa(members: &Map<String, Value>) -> Result<Vec<(Algorithm, ParsedPublicKey)>, KeyFault> {
    let modulus = number(members, "n")?;
    let exponent = number(members, "e")?;
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyFault::ModulusSize(bits));
    }
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || exponent == [1] {
        return Err(KeyFault::Exponent);
    }
    if has_roca_fingerprint(&modulus) {
        return Err(KeyFault::Roca);
    }
    let components = PublicKeyComponents { n: &modulus[..], e: &exponent[..] };
    RSA_ALGORITHMS
        .into_iter()
        .map(|(algorithm, parameters)| Ok((algorithm, components.to_parsed_public_key(parameters)?)))
        .collect::<Result<_, aws_lc_rs::error::KeyRejected>>()
        .map_err(|_| KeyFault::Invalid)
}

/// Keys of that generator are 65537^a times a known number, so that modulo each small prime the modulus is a power
/// of 65537. Any other key passes this test with a chance below 2⁻²⁷.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.into_iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * 65_537 % prime));
        powers.take(prime as usize).any(|power| power == rest)
    })
}

/// An uncompressed point (SEC 1 section 2.3.3); the library refuses one that is not on the curve, or not as long as two
/// coordinates.
fn point(
    members: &Map<String, Value>,
    size: usize,
    algorithm: &'static aws_lc_rs::signature::EcdsaVerificationAlgorithm,
) -> Result<ParsedPublicKey, KeyFault> {
    let mut point = vec![4];
    point.extend(exactly(members, "x", size)?);
    point.extend(decoded(members, "y")?);
    ParsedPublicKey::new(algorithm, point).map_err(|_| KeyFault::Invalid)
}

/// Unsigned and big-endian. RFC 7518 section 2 wants no leading zeros, but some issuers send one.
fn number(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    let bytes = decoded(members, name)?;
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    Ok(bytes.into_iter().skip(zeros).collect())
}

/// RFC 7518 section 6.2.1.2: leading zeros of a coordinate are not left out.
fn exactly(members: &Map<String, Value>, name: &'static str, size: usize) -> Result<Vec<u8>, KeyFault> {
    let bytes = decoded(members, name)?;
    if bytes.len() == size { Ok(bytes) } else { Err(KeyFault::Invalid) }
}

fn decoded(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    let encoded = text(members, name)?.ok_or(KeyFault::Member(name))?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KeyFault::Member(name))
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, KeyFault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyFault::Member(name)),
    }
}
