//! The key of a caller that proves a DID: made, kept in a file, and used to sign tokens. Nothing of the gateway itself has
//! one; this is for those who call it.

use attach_proto::{
    bundle::Algorithm,
    did::{Did, InvalidDid, KeyKind},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use uuid::Uuid;

/// RFC 7468 section 2: lines of exactly 64.
const PEM_LINE: usize = 64;

pub(crate) struct DidKey {
    pub(crate) did: Did,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Secp256k1(EcdsaKeyPair),
}

#[derive(Debug, Error)]
pub(crate) enum DidKeyError {
    #[error("{}: {cause}", .path.display())]
    File { path: PathBuf, cause: io::Error },
    #[error("{}: is there already; a key is never written over", .path.display())]
    Exists { path: PathBuf },
    #[error("{}: is no private key in PEM (-----BEGIN PRIVATE KEY-----): {cause}", .path.display())]
    NotPem { path: PathBuf, cause: rustls::pki_types::pem::Error },
    #[error("{}: is no key of Ed25519, P-256 or secp256k1", .path.display())]
    Kind { path: PathBuf },
    #[error("the key {0}")]
    Did(#[from] InvalidDid),
    #[error("the key could not be made or used")]
    Crypto(#[from] aws_lc_rs::error::Unspecified),
}

impl DidKey {
    pub(crate) fn generate(kind: KeyKind) -> Result<Self, DidKeyError> {
        Self::of(match kind {
            KeyKind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate()?),
            KeyKind::P256 => Pair::P256(EcdsaKeyPair::generate(signing(KeyKind::P256))?),
            KeyKind::Secp256k1 => Pair::Secp256k1(EcdsaKeyPair::generate(signing(KeyKind::Secp256k1))?),
        })
    }

    /// PKCS #8 in PEM: what [`write`](Self::write) wrote, or `openssl genpkey`.
    pub(crate) fn read(path: &Path) -> Result<Self, DidKeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_file(path)
            .map_err(|cause| DidKeyError::NotPem { path: path.to_owned(), cause })?;
        let der = der.secret_pkcs8_der();
        let ec = |kind| EcdsaKeyPair::from_pkcs8(signing(kind), der);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(Pair::Ed25519)
            .or_else(|_| ec(KeyKind::P256).map(Pair::P256))
            .or_else(|_| ec(KeyKind::Secp256k1).map(Pair::Secp256k1))
            .map_err(|_| DidKeyError::Kind { path: path.to_owned() })?;
        Self::of(pair)
    }

    fn of(pair: Pair) -> Result<Self, DidKeyError> {
        let did = match &pair {
            Pair::Ed25519(pair) => Did::of_key(KeyKind::Ed25519, pair.public_key().as_ref()),
            Pair::P256(pair) => Did::of_key(KeyKind::P256, &compressed(pair)),
            Pair::Secp256k1(pair) => Did::of_key(KeyKind::Secp256k1, &compressed(pair)),
        }?;
        Ok(Self { did, pair })
    }

    /// Into a new file that nobody else may read.
    pub(crate) fn write(&self, path: &Path) -> Result<(), DidKeyError> {
        let der = match &self.pair {
            Pair::Ed25519(pair) => pair.to_pkcs8v1()?,
            Pair::P256(pair) | Pair::Secp256k1(pair) => pair.to_pkcs8v1()?,
        };
        let encoded = STANDARD.encode(der.as_ref());
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = next;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        let failed = |cause: io::Error| {
            let path = path.to_owned();
            if cause.kind() == io::ErrorKind::AlreadyExists {
                DidKeyError::Exists { path }
            } else {
                DidKeyError::File { path, cause }
            }
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// A token for one audience. One that serves once has an id of its own.
    pub(crate) fn token(
        &self,
        audience: &str,
        now: Timestamp,
        lifetime: Duration,
        one_time: bool,
    ) -> Result<String, DidKeyError> {
        let did = self.did.as_str();
        let id = did.strip_prefix("did:key:").unwrap_or_default();
        let header = json!({"alg": self.algorithm().name(), "typ": "JWT", "kid": format!("{did}#{id}")});
        let issued = now.as_second();
        let expires = issued.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let mut claims = json!({"iss": did, "aud": audience, "iat": issued, "exp": expires});
        if one_time && let Some(claims) = claims.as_object_mut() {
            claims.insert("jti".to_owned(), Uuid::now_v7().to_string().into());
        }
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes())?);
        Ok(format!("{signed}.{signature}"))
    }

    fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::EdDsa,
            Pair::P256(_) => Algorithm::Es256,
            Pair::Secp256k1(_) => Algorithm::Es256K,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message)?,
            Pair::P256(pair) | Pair::Secp256k1(pair) => pair.sign(&SystemRandom::new(), message)?,
        };
        Ok(signature.as_ref().to_vec())
    }
}

fn signing(kind: KeyKind) -> &'static EcdsaSigningAlgorithm {
    match kind {
        KeyKind::Secp256k1 => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
        KeyKind::P256 | KeyKind::Ed25519 => &ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

/// SEC 1 section 2.3.3: the parity of y, and x. The library has the point whole, as 4, x and y.
fn compressed(pair: &EcdsaKeyPair) -> Vec<u8> {
    let point = pair.public_key().as_ref();
    let parity = point.last().map_or(0, |byte| byte & 1);
    let x = point.get(1..=(point.len() - 1) / 2).unwrap_or_default();
    [&[2 + parity][..], x].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_that_was_written_is_read_again_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        for kind in KeyKind::ALL {
            let path = folder.path().join(format!("{kind:?}.pem"));
            let key = DidKey::generate(kind).unwrap();
            key.write(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(DidKey::read(&path).unwrap().did, key.did, "{kind:?}");
            let again = key.write(&path).unwrap_err();
            assert!(matches!(again, DidKeyError::Exists { .. }), "{again}");
        }
    }

    #[test]
    fn a_key_as_openssl_writes_it_is_read() {
        // openssl genpkey -algorithm ed25519; its public key, by openssl pkey -pubout, is the end of the DID's 34 bytes.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\
                   -----END PRIVATE KEY-----\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, pem).unwrap();
        // The seed of zeros is the first vector of the did:key method.
        let expected = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
        assert_eq!(DidKey::read(&path).unwrap().did.as_str(), expected);
    }

    #[test]
    fn a_file_that_is_no_key_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let rsa = "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n";
        for (text, expected) in [("hello", "no private key in PEM"), (rsa, "no key of Ed25519")] {
            std::fs::write(&path, text).unwrap();
            let error = DidKey::read(&path).err().unwrap().to_string();
            assert!(error.contains(expected) && error.contains("key.pem"), "{error}");
        }
        assert!(DidKey::read(&folder.path().join("none")).is_err());
    }
}
