//! Where bundles come from. The rest of the gateway sees a `watch` of snapshots and can't tell.
//!
//! Rules of this edge: nothing is served before the first good snapshot. A bundle that does not validate whole is
//! refused whole, said and counted, and the last good one stays.

mod file;
mod keys_file;

pub(crate) use file::{FileFault, read as read_bundle_file};

use crate::{
    settings::{BundleOrigin, Environment, complete},
    snapshot::Snapshot,
};
use attach_proto::{
    Invalid,
    bundle::Bundle,
    id::{Revision, UpstreamId},
    v1,
};
use foldhash::HashMap;
use http::HeaderValue;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

/// How often files are looked at. A change acts after two looks that see the same; a look is one system call.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why there is no bundle to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceFault {
    #[error(transparent)]
    File(#[from] FileFault),
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    #[error("{origin}: {invalid}")]
    Invalid { origin: String, invalid: Invalid },
    #[error(
        "{origin}: has no identity provider and no key, so nobody could call; add identity_providers or keys"
    )]
    NobodyCouldCall { origin: String },
}

/// Reads bundles from where the settings say.
pub(crate) struct Source {
    origin: BundleOrigin,
    environment: Environment,
    /// Of the last bundle that was good.
    revision: Revision,
}

impl Source {
    pub(crate) fn new(origin: BundleOrigin, environment: Environment) -> Self {
        Self { origin, environment, revision: Revision(0) }
    }

    /// Reads and validates. Numbers the bundle when it has no revision of its own.
    pub(crate) fn load(&mut self) -> Result<Snapshot, SourceFault> {
        let (wire, name) = match &self.origin {
            BundleOrigin::File { path, host } => {
                let file = file::read(path)?;
                if let Some((variable, field)) = host.contradiction(&file) {
                    let problem = format!(
                        "is given, and {} has {field} of its own; which of the two counts can't be told: remove one",
                        path.display()
                    );
                    return Err(SourceFault::Setting { variable, problem });
                }
                (complete(file, host), path.display().to_string())
            }
            BundleOrigin::Expanded { bundle, keys_file: None } => (bundle.clone(), "settings".to_owned()),
            BundleOrigin::Expanded { bundle, keys_file: Some(path) } => {
                let mut bundle = bundle.clone();
                bundle.keys = keys_file::read(path, &bundle)?;
                (bundle, path.display().to_string())
            }
        };
        let mut bundle = validate(wire, &name).map_err(|fault| self.by_variable(fault))?;
        // Only at the start: later, an emptied list of keys is how all of them are revoked.
        if self.revision == Revision(0) && matches!(self.origin, BundleOrigin::File { .. }) {
            check_somebody_could_call(&bundle, &name)?;
        }
        if bundle.revision <= self.revision {
            bundle.revision = Revision(self.revision.0 + 1);
        }
        let credentials = self.credentials(&bundle, &name)?;
        self.revision = bundle.revision;
        Ok(Snapshot::new(bundle, credentials))
    }

    /// What the engines want to be told, by the names of variables: a bundle holds no secret of a host.
    fn credentials(
        &self,
        bundle: &Bundle,
        name: &str,
    ) -> Result<HashMap<UpstreamId, HeaderValue>, SourceFault> {
        let named =
            bundle.upstreams.iter().enumerate().filter_map(|(index, upstream)| {
                Some((index, &upstream.id, upstream.credential_env.as_deref()?))
            });
        let credential = |(index, id, variable): (usize, &UpstreamId, &str)| {
            let invalid = |problem: String| SourceFault::Invalid {
                origin: name.to_owned(),
                invalid: Invalid { path: format!("upstreams[{index}].credential_env"), problem },
            };
            let secret =
                self.environment.get(variable).ok_or_else(|| invalid(format!("{variable} is not set")))?;
            let mut header = HeaderValue::try_from(format!("Bearer {secret}"))
                .map_err(|_| invalid(format!("{variable} does not fit into a header")))?;
            header.set_sensitive(true);
            Ok((id.clone(), header))
        };
        named.map(credential).collect()
    }

    /// Names the variable that a field of an expanded bundle came from.
    fn by_variable(&self, fault: SourceFault) -> SourceFault {
        const VARIABLES: [(&str, &str); 6] = [
            ("identity_providers[0].issuer", "OIDC_ISSUER"),
            ("identity_providers[0].audiences", "OIDC_AUD"),
            ("quota_stores[0].redis.url", "REDIS_URL"),
            ("limits[0].window", "WINDOW"),
            ("limits[0].amount", "MAX_TOKENS_PER_MIN"),
            ("upstreams[0].url", "ENGINE_URL"),
        ];
        match (&self.origin, fault) {
            (BundleOrigin::Expanded { .. }, SourceFault::Invalid { origin, invalid }) => {
                let variable = VARIABLES.iter().find(|(path, _)| *path == invalid.path);
                match variable {
                    Some((_, variable)) => SourceFault::Setting { variable, problem: invalid.problem },
                    None => SourceFault::Invalid { origin, invalid },
                }
            }
            (_, fault) => fault,
        }
    }

    fn files(&self) -> Option<&Path> {
        match &self.origin {
            BundleOrigin::File { path, .. } => Some(path),
            BundleOrigin::Expanded { keys_file, .. } => keys_file.as_deref(),
        }
    }

    /// Loads again whenever the file changes, until the receivers are gone. Returns at once when there is no file.
    /// `before` is told of each snapshot before anyone is served by it.
    pub(crate) async fn follow(
        mut self,
        snapshots: watch::Sender<Arc<Snapshot>>,
        before: impl Fn(&Snapshot),
    ) {
        let Some(path) = self.files().map(PathBuf::from) else { return };
        let mut loaded = Stamp::of(&path);
        let mut last = loaded;
        while !snapshots.is_closed() {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = Stamp::of(&path);
            // A file that changed since the last look may be half-written; half a bundle can be a valid one, without
            // its limits.
            let is_still = std::mem::replace(&mut last, now) == now;
            if !is_still || now == loaded {
                continue;
            }
            loaded = now;
            match self.load() {
                Ok(snapshot) => {
                    let revision = snapshot.bundle().revision;
                    before(&snapshot);
                    snapshots.send_replace(Arc::new(snapshot));
                    tracing::info!(bundle.revision = revision.0, "{} acts now", path.display());
                }
                Err(fault) => {
                    tracing::error!("{fault}; revision {} serves on", self.revision);
                }
            }
        }
    }
}

/// `check FILE` and the gateway itself come through here.
pub(crate) fn validate(wire: v1::Bundle, name: &str) -> Result<Bundle, SourceFault> {
    Bundle::try_from(wire).map_err(|invalid| SourceFault::Invalid { origin: name.to_owned(), invalid })
}

pub(crate) fn check_somebody_could_call(bundle: &Bundle, name: &str) -> Result<(), SourceFault> {
    if bundle.identity_providers.is_empty() && bundle.keys.is_empty() {
        return Err(SourceFault::NobodyCouldCall { origin: name.to_owned() });
    }
    Ok(())
}

/// What tells one state of a file from the next without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let read = || {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        Self(read())
    }
}
