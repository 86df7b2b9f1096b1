//! A revision that was checked whole: signed for this pool, not older than the one before, and exactly what was signed.

use super::host::Host;
use crate::{enrolment::Identity, snapshot::Snapshot};
use attach_proto::{
    Invalid,
    id::Revision,
    resources::Resources,
    v1::{self, ManifestHead},
};
use prost::Message as _;
use std::sync::Arc;

/// Most that a gateway holds of its pool's resources, ids and bodies together. 100,000 keys are 20 MB; more than this is
/// no configuration.
pub(super) const MAX_HELD_BYTES: usize = 64 << 20;

/// Beside id and body: the entry in the map, its digest, and what an allocation rounds up to.
const OVERHEAD_BYTES: usize = 128;

#[derive(Debug, Clone)]
pub(super) struct Good {
    revision: Revision,
    resources: Arc<Resources>,
    manifest: v1::Manifest,
}

/// Why a revision is refused whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the update ends without a manifest")]
    NoManifest,
    #[error("the manifest {0}")]
    Signature(&'static str),
    #[error("the manifest's head can't be read: {0}")]
    Head(#[from] prost::DecodeError),
    #[error("the manifest is of the pool {0:?}, this gateway belongs to another")]
    OtherPool(String),
    #[error("the update says revision {update}, its manifest says {manifest}")]
    OtherRevision { update: Revision, manifest: Revision },
    #[error("revision {found} is older than {held}, which this gateway has")]
    Older { found: Revision, held: Revision },
    #[error("what arrived is not what was signed")]
    Different,
    #[error("its resources are more than {MAX_HELD_BYTES} bytes")]
    TooLarge,
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Refusal {
    /// Whether the two sides do not mean the same by what this gateway holds: then it is to be sent everything.
    pub(super) fn is_of_transport(&self) -> bool {
        match self {
            Self::NoManifest | Self::Different => true,
            Self::TooLarge
            | Self::Signature(_)
            | Self::Head(_)
            | Self::OtherPool(_)
            | Self::OtherRevision { .. }
            | Self::Older { .. }
            | Self::Invalid(_) => false,
        }
    }
}

impl Good {
    /// Checks everything but the contents.
    pub(super) fn check(
        resources: Arc<Resources>,
        revision: Revision,
        manifest: Option<v1::Manifest>,
        identity: &Identity,
        held: Option<Revision>,
    ) -> Result<Self, Refusal> {
        let manifest = manifest.ok_or(Refusal::NoManifest)?;
        identity.verify(&manifest.head, &manifest).map_err(Refusal::Signature)?;
        let head = ManifestHead::decode(manifest.head.as_slice())?;
        if head.pool != identity.name.pool.as_str() {
            return Err(Refusal::OtherPool(head.pool));
        }
        let signed = Revision(head.revision);
        if signed != revision {
            return Err(Refusal::OtherRevision { update: revision, manifest: signed });
        }
        if let Some(held) = held.filter(|held| revision < *held) {
            return Err(Refusal::Older { found: revision, held });
        }
        if resources.manifest_head(&identity.name.pool, revision) != head {
            return Err(Refusal::Different);
        }
        Ok(Self { revision, resources, manifest })
    }

    /// What is served by it.
    ///
    /// # Errors
    ///
    /// Names the field, by its resource's own id.
    pub(super) fn snapshot(&self, host: &Host) -> Result<Snapshot, Refusal> {
        let wire = self.resources.bundle(self.revision)?;
        Ok(host.snapshot(wire).map_err(|invalid| self.resources.named(invalid))?)
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn resources(&self) -> Arc<Resources> {
        Arc::clone(&self.resources)
    }

    /// All of it, as one update: how it is kept.
    pub(super) fn to_update(&self) -> v1::Update {
        v1::Update {
            revision: self.revision.0,
            upsert: self.resources.difference(&[]).upsert,
            last: true,
            manifest: Some(self.manifest.clone()),
            ..v1::Update::default()
        }
    }
}

/// What resources take up.
pub(super) fn held_bytes(resources: &Resources) -> usize {
    resources.iter().map(|(name, resource)| OVERHEAD_BYTES + name.id.len() + resource.body.len()).sum()
}

/// What an update brings.
pub(super) fn brought_bytes(update: &v1::Update) -> usize {
    update.upsert.iter().map(|resource| OVERHEAD_BYTES + resource.id.len() + resource.body.len()).sum()
}
