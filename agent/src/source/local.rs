//! The bundle from a file, or expanded from environment and flags.

use super::{SourceFault, check_somebody_could_call, credentials, file, keys_file, validate};
use crate::{
    settings::{Environment, LocalOrigin, complete},
    snapshot::Snapshot,
    watched::Watched,
};
use attach_proto::id::Revision;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;

/// Reads bundles from where the settings say.
pub(crate) struct Local {
    origin: LocalOrigin,
    environment: Environment,
    /// Of the last bundle that was good.
    revision: Revision,
}

impl Local {
    pub(super) fn new(origin: LocalOrigin, environment: Environment) -> Self {
        Self { origin, environment, revision: Revision(0) }
    }

    /// Reads and validates. Numbers the bundle when it has no revision of its own.
    pub(super) fn load(&mut self) -> Result<Snapshot, SourceFault> {
        let (wire, name) = match &self.origin {
            LocalOrigin::File { path, host } => {
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
            LocalOrigin::Expanded { bundle, keys_file: None } => (bundle.clone(), "settings".to_owned()),
            LocalOrigin::Expanded { bundle, keys_file: Some(path) } => {
                let mut bundle = bundle.clone();
                bundle.keys = keys_file::read(path, &bundle)?;
                (bundle, path.display().to_string())
            }
        };
        let mut bundle = validate(wire, &name).map_err(|fault| self.by_variable(fault))?;
        // Only at the start: later, an emptied list of keys is how all of them are revoked.
        if self.revision == Revision(0) && matches!(self.origin, LocalOrigin::File { .. }) {
            check_somebody_could_call(&bundle, &name)?;
        }
        if bundle.revision <= self.revision {
            bundle.revision = Revision(self.revision.0 + 1);
        }
        let credentials = credentials(&bundle, &self.environment, &name)?;
        self.revision = bundle.revision;
        Ok(Snapshot::new(bundle, credentials))
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
            (LocalOrigin::Expanded { .. }, SourceFault::Invalid { origin, invalid }) => {
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
            LocalOrigin::File { path, .. } => Some(path),
            LocalOrigin::Expanded { keys_file, .. } => keys_file.as_deref(),
        }
    }

    /// Loads again whenever the file changes, until the receivers are gone. Returns at once when there is no file.
    /// `before` is told of each snapshot before anyone is served by it.
    pub(super) async fn follow(
        mut self,
        snapshots: watch::Sender<Arc<Snapshot>>,
        before: impl Fn(&Snapshot),
    ) {
        let Some(path) = self.files().map(PathBuf::from) else { return };
        let mut watched = Watched::new(vec![path.clone()]);
        loop {
            tokio::select! {
                () = snapshots.closed() => return,
                () = watched.changed() => {}
            }
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
