//! The key that signs bundles, so that an agent takes none that this control plane did not make.

use attach_proto::v1;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use prost::Message as _;
use std::fmt;

pub(crate) struct BundleSigner {
    key_id: String,
    key: Ed25519KeyPair,
}

/// The key is none.
#[derive(Debug, thiserror::Error)]
#[error("is no Ed25519 key")]
pub(crate) struct NoKey;

impl BundleSigner {
    /// A new key, also as PKCS #8.
    pub(crate) fn make() -> Result<(Self, Vec<u8>), NoKey> {
        let key = Ed25519KeyPair::generate().map_err(|_| NoKey)?;
        let pkcs8 = key.to_pkcs8().map_err(|_| NoKey)?.as_ref().to_vec();
        let hex: String =
            key.public_key().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok((Self { key_id: hex, key }, pkcs8))
    }

    pub(crate) fn restore(key_id: String, pkcs8: &[u8]) -> Result<Self, NoKey> {
        Ok(Self { key_id, key: Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| NoKey)? })
    }

    pub(crate) fn public(&self) -> v1::SigningKey {
        v1::SigningKey { key_id: self.key_id.clone(), public_key: self.key.public_key().as_ref().to_vec() }
    }

    pub(crate) fn sign(&self, head: &v1::ManifestHead) -> v1::Manifest {
        let head = head.encode_to_vec();
        let signature = self.key.sign(&head).as_ref().to_vec();
        v1::Manifest { head, key_id: self.key_id.clone(), signature }
    }
}

impl fmt::Debug for BundleSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleSigner({})", self.key_id)
    }
}
