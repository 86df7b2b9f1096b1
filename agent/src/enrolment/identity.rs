//! The enrolment as it stands on disk and in memory.

use super::folder;
use crate::{
    control_plane::{Address, tls_builder},
    whole_file,
};
use attach_proto::{enrolment::AgentName, v1};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey},
};
use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A key, a certificate, and a handful of authorities and signing keys: some kilobytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Who this gateway is, and whom it believes. Cheap to hand on behind an `Arc`; a renewal makes another.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) address: Address,
    pub(crate) name: AgentName,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// Towards the control plane: this certificate, those authorities.
    pub(crate) tls: Arc<ClientConfig>,
    document: Document,
}

/// What stands in the file. Bytes are in base64.
#[derive(Clone, Serialize, Deserialize)]
struct Document {
    control_plane: String,
    pool: String,
    agent: String,
    #[serde(with = "in_base64")]
    key: Vec<u8>,
    #[serde(with = "in_base64")]
    certificate: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    authorities: Vec<Authority>,
    signing_keys: Vec<SigningKey>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Authority(#[serde(with = "in_base64")] Vec<u8>);

#[derive(Clone, Serialize, Deserialize)]
struct SigningKey {
    key_id: String,
    #[serde(with = "in_base64")]
    public_key: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error(
        "{}: is no enrolment ({problem}); move the folder away and join again with a new token",
        path.display()
    )]
    Damaged { path: PathBuf, problem: String },
    #[error("what the control plane sent is no enrolment: {0}")]
    Reply(String),
}

/// Whether a gateway with this state folder has joined a control plane.
pub(crate) fn is_enrolled(state: &Path) -> bool {
    file(state).exists()
}

fn file(state: &Path) -> PathBuf {
    folder(state).join("identity.json")
}

impl Identity {
    /// What a state folder holds.
    ///
    /// # Errors
    ///
    /// A file that is damaged too: without its key this gateway is nobody.
    pub(crate) fn load(state: &Path) -> Result<Self, IdentityError> {
        let path = file(state);
        let damaged = |problem: String| IdentityError::Damaged { path: path.clone(), problem };
        let bytes = whole_file::read(&path, MAX_FILE_BYTES)
            .map_err(|source| IdentityError::Disk { path: path.clone(), source })?
            .ok_or_else(|| damaged("the file is missing".to_owned()))?;
        // The text of the file stays out of the message: it has the key.
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(format!("line {}, column {}", error.line(), error.column())))?;
        Self::try_from(document).map_err(damaged)
    }

    /// Of what the control plane answered, for a key of ours.
    pub(super) fn issued(
        address: &Address,
        name: AgentName,
        key: Vec<u8>,
        certificate: v1::Certificate,
    ) -> Result<Self, IdentityError> {
        let moment = |at: Option<pbjson_types::Timestamp>, field: &str| {
            let at = at.ok_or_else(|| IdentityError::Reply(format!("{field} is missing")))?;
            Timestamp::new(at.seconds, at.nanos)
                .map_err(|error| IdentityError::Reply(format!("{field}: {error}")))
        };
        let v1::Certificate { certificate, not_before, not_after, authorities, signing_keys } = certificate;
        let document = Document {
            control_plane: address.to_string(),
            pool: name.pool.into(),
            agent: name.agent.into(),
            key,
            certificate,
            not_before: moment(not_before, "not_before")?,
            not_after: moment(not_after, "not_after")?,
            authorities: authorities.into_iter().map(Authority).collect(),
            signing_keys: signing_keys
                .into_iter()
                .map(|v1::SigningKey { key_id, public_key }| SigningKey { key_id, public_key })
                .collect(),
        };
        Self::try_from(document).map_err(IdentityError::Reply)
    }

    pub(crate) fn store(&self, state: &Path) -> Result<(), IdentityError> {
        let path = file(state);
        let disk = |source| IdentityError::Disk { path: path.clone(), source };
        let text = serde_json::to_vec_pretty(&self.document).map_err(|error| disk(error.into()))?;
        whole_file::replace(&path, &text).map_err(disk)
    }

    /// Of each authority that may sign for the control plane, the SHA-256 of its certificate.
    pub(crate) fn authorities_sha256(&self) -> impl Iterator<Item = [u8; 32]> {
        let sha256 =
            |authority: &Authority| digest(&SHA256, &authority.0).as_ref().try_into().unwrap_or_default();
        self.document.authorities.iter().map(sha256)
    }

    pub(super) fn has_authority(&self, is_it: impl Fn(&[u8]) -> bool) -> bool {
        self.document.authorities.iter().any(|authority| is_it(&authority.0))
    }

    /// Whether somebody who may sign a bundle has signed this.
    ///
    /// # Errors
    ///
    /// Says whether the key or the signature is the wrong one.
    pub(crate) fn verify(&self, message: &[u8], manifest: &v1::Manifest) -> Result<(), &'static str> {
        let mut keys = self.document.signing_keys.iter();
        let key = keys.find(|key| key.key_id == manifest.key_id);
        let key = key.ok_or("is signed with a key that this gateway does not know")?;
        UnparsedPublicKey::new(&ED25519, &key.public_key)
            .verify(message, &manifest.signature)
            .map_err(|_| "has a signature that is not right")
    }
}

impl TryFrom<Document> for Identity {
    type Error = String;

    fn try_from(document: Document) -> Result<Self, String> {
        let pool = document.pool.parse().map_err(|error| format!("pool: {error}"))?;
        let agent = document.agent.parse().map_err(|error| format!("agent: {error}"))?;
        if document.signing_keys.is_empty() {
            return Err("signing_keys: is empty".to_owned());
        }
        if document.signing_keys.iter().any(|key| key.public_key.len() != ED25519_PUBLIC_KEY_LEN) {
            return Err("signing_keys: one is no Ed25519 key".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for authority in &document.authorities {
            roots
                .add(CertificateDer::from(authority.0.clone()))
                .map_err(|error| format!("authorities: {error}"))?;
        }
        if roots.is_empty() {
            return Err("authorities: is empty".to_owned());
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(document.key.clone()));
        let mut tls = tls_builder()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![CertificateDer::from(document.certificate.clone())], key)
            .map_err(|error| format!("certificate and key: {error}"))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            address: document.control_plane.parse().map_err(|error| format!("control_plane: {error}"))?,
            name: AgentName { pool, agent },
            not_before: document.not_before,
            not_after: document.not_after,
            tls: Arc::new(tls),
            document,
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} at {})", self.name.to_uri(), self.address)
    }
}

mod in_base64 {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(|_| D::Error::custom("is no base64"))
    }
}
