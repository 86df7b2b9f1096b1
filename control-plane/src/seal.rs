//! Secrets that must be sent are kept sealed: `v1.<kid>.<nonce>.<ciphertext>`, AES-256-GCM (NIST SP 800-38D), so that the
//! database alone gives none of them away.
//!
//! What a sealed text is for goes into it (associated data): moved to another row, it does not open.

use crate::domain::secret::random_text;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand::{SecureRandom as _, SystemRandom},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

const VERSION: &str = "v1";

/// Of AES-256, in bytes.
const KEY_BYTES: usize = 32;

/// Enough to tell a handful of keys apart.
const KID_CHARACTERS: usize = 8;

/// Seals with one key, and opens what any of its keys sealed, so that a key can be replaced.
pub struct Sealer {
    /// The first seals.
    keys: Vec<(String, RandomizedNonceKey)>,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: line {line}: is not kid:key, where key is the base64 of {KEY_BYTES} bytes", path.display())]
    Line { path: PathBuf, line: usize },
    #[error("{}: has no key", path.display())]
    Empty { path: PathBuf },
    #[error("is no sealed text")]
    Form,
    #[error("was sealed with the key {kid}, which the key file does not have")]
    UnknownKey { kid: String },
    #[error("does not open: it was changed, or sealed for something else")]
    Changed,
    #[error("can't be sealed")]
    Seal,
}

impl Sealer {
    /// Reads a key file: a line `kid:base64` for each key, the one that seals first.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and where.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let text =
            fs::read_to_string(path).map_err(|source| SealError::File { path: path.to_owned(), source })?;
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let key = key(line.trim()).ok_or(SealError::Line { path: path.to_owned(), line: index + 1 })?;
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(SealError::Empty { path: path.to_owned() });
        }
        Ok(Self { keys })
    }

    /// Makes a key file that nobody else may read, with one new key.
    ///
    /// # Errors
    ///
    /// The file is there already, or can't be written.
    pub fn make(path: &Path) -> Result<(), SealError> {
        let fault = |source| SealError::File { path: path.to_owned(), source };
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::Seal)?;
        // No two files' keys have one name: what is missing can be told from what was changed.
        let kid = random_text(KID_CHARACTERS).map_err(|_| SealError::Seal)?;
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fault)?;
        writeln!(file, "{kid}:{}", BASE64_STANDARD.encode(bytes))
            .and_then(|()| file.sync_all())
            .map_err(fault)
    }

    /// Seals a secret for one purpose, such as `quota_store/main`.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<String, SealError> {
        let (kid, key) = self.keys.first().ok_or(SealError::Seal)?;
        let mut sealed = secret.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| SealError::Seal)?;
        let [nonce, sealed] =
            [&nonce.as_ref()[..], &sealed].map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
        Ok(format!("{VERSION}.{kid}.{nonce}.{sealed}"))
    }

    /// Opens what was sealed for that purpose.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let mut parts = sealed.split('.');
        let (Some(VERSION), Some(kid), Some(nonce), Some(text), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SealError::Form);
        };
        let (_, key) = self
            .keys
            .iter()
            .find(|(known, _)| known == kid)
            .ok_or_else(|| SealError::UnknownKey { kid: kid.to_owned() })?;
        let decode = |text| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Form);
        let nonce: [u8; NONCE_LEN] = decode(nonce)?.try_into().map_err(|_| SealError::Form)?;
        let mut secret = decode(text)?;
        let length = key
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut secret)
            .map_err(|_| SealError::Changed)?
            .len();
        secret.truncate(length);
        Ok(secret)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(kid, _)| kid)).finish()
    }
}

fn key(line: &str) -> Option<(String, RandomizedNonceKey)> {
    let (kid, key) = line.split_once(':')?;
    let is_kid = !kid.is_empty() && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let bytes = BASE64_STANDARD.decode(key).ok().filter(|bytes| is_kid && bytes.len() == KEY_BYTES)?;
    Some((kid.to_owned(), RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_purpose_and_for_no_other_and_an_old_key_still_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        Sealer::make(&path).unwrap();
        assert!(matches!(Sealer::make(&path), Err(SealError::File { .. })), "it is not written over");
        let first = Sealer::read(&path).unwrap();
        let sealed = first.seal("quota_store/a", b"redis://:secret@host").unwrap();
        let kid = sealed.split('.').nth(1).unwrap();
        assert!(sealed.starts_with("v1.") && !sealed.contains("secret"));
        assert_ne!(sealed, first.seal("quota_store/a", b"redis://:secret@host").unwrap());

        let added = format!("k2:{}\n{}", BASE64_STANDARD.encode([7; 32]), fs::read_to_string(&path).unwrap());
        fs::write(&path, added).unwrap();
        let second = Sealer::read(&path).unwrap();
        assert_eq!(second.open("quota_store/a", &sealed).unwrap(), b"redis://:secret@host");
        assert!(second.seal("x", b"").unwrap().starts_with("v1.k2."));
        assert!(matches!(second.open("quota_store/b", &sealed), Err(SealError::Changed)));
        let newer = second.seal("x", b"y").unwrap();
        assert!(matches!(first.open("x", &newer), Err(SealError::UnknownKey { kid }) if kid == "k2"));
        for broken in ["", "v1.KID", "v2.KID.AAAA.AAAA", "v1.KID.AAAA.AAAA", "v1.KID.!.!"] {
            let broken = broken.replace("KID", kid);
            assert!(matches!(first.open("x", &broken), Err(SealError::Form)), "{broken}");
        }
        assert_eq!(format!("{second:?}"), format!("{:?}", ["k2", kid]));
    }

    #[test]
    fn a_key_file_says_where_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        for (text, problem) in [("", "has no key"), ("k1:short", "line 1"), ("\nno colon", "line 2")] {
            fs::write(&path, text).unwrap();
            let error = Sealer::read(&path).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
