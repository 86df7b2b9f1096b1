//! The last good bundle on disk: an update that brings everything, behind its SHA-256.
//!
//! The digest tells a damaged file from a whole one; that it is the control plane's own, and this pool's, its manifest
//! tells, by the same checks as on the stream.

use super::good::{Good, MAX_HELD_BYTES, Refusal};
use crate::{enrolment::Identity, whole_file};
use attach_proto::{id::Revision, resources::Resources, v1};
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use prost::Message as _;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a gateway may hold, and a manifest beside it.
const MAX_FILE_BYTES: u64 = (MAX_HELD_BYTES + (1 << 20)) as u64;

#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("{}: the bundle is damaged", .0.display())]
    Damaged(PathBuf),
    #[error("{}: the bundle can't be used: {refusal}", path.display())]
    Refused { path: PathBuf, refusal: Box<Refusal> },
}

impl Kept {
    pub(super) fn below(folder: &Path) -> Self {
        Self { path: folder.join("bundle") }
    }

    /// `None` when there is none.
    pub(super) fn load(&self, identity: &Identity) -> Result<Option<Good>, KeptError> {
        let read = whole_file::read(&self.path, MAX_FILE_BYTES).map_err(|source| self.disk(source))?;
        let Some(bytes) = read else { return Ok(None) };
        let damaged = || KeptError::Damaged(self.path.clone());
        let (sum, body) = bytes.split_at_checked(SHA256_OUTPUT_LEN).ok_or_else(damaged)?;
        if digest(&SHA256, body).as_ref() != sum {
            return Err(damaged());
        }
        let update = v1::Update::decode(body).map_err(|_| damaged())?;
        let mut resources = Resources::default();
        resources.apply(&update);
        let revision = Revision(update.revision);
        let good = Good::check(Arc::new(resources), revision, update.manifest, identity, None);
        good.map(Some).map_err(|refusal| self.unusable(refusal))
    }

    pub(super) fn store(&self, good: &Good) -> Result<(), KeptError> {
        let body = good.to_update().encode_to_vec();
        let mut bytes = digest(&SHA256, &body).as_ref().to_vec();
        bytes.extend_from_slice(&body);
        whole_file::replace(&self.path, &bytes).map_err(|source| self.disk(source))
    }

    pub(super) fn remove(&self) -> Result<(), KeptError> {
        whole_file::remove(&self.path).map_err(|source| self.disk(source))
    }

    pub(super) fn unusable(&self, refusal: Refusal) -> KeptError {
        KeptError::Refused { path: self.path.clone(), refusal: Box::new(refusal) }
    }

    fn disk(&self, source: io::Error) -> KeptError {
        KeptError::Disk { path: self.path.clone(), source }
    }
}
