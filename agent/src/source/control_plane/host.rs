//! What the host adds to every bundle of the control plane: its engines.

use crate::{
    settings::Environment,
    snapshot::Snapshot,
    source::{SourceFault, bundle_of, credentials, validate},
};
use attach_proto::{Invalid, bundle::Bundle, v1};
use foldhash::HashMap;

pub(super) struct Host {
    upstreams: Vec<v1::Upstream>,
    environment: Environment,
    /// The engines alone: valid, so that what is wrong with a bundle is never the host's.
    nobody: Bundle,
}

impl Host {
    pub(super) fn new(upstreams: Vec<v1::Upstream>, environment: Environment) -> Result<Self, SourceFault> {
        let wire = v1::Bundle { upstreams: upstreams.clone(), ..v1::Bundle::default() };
        let nobody = validate(wire, "settings")?;
        credentials(&nobody, &environment, "settings")?;
        Ok(Self { upstreams, environment, nobody })
    }

    pub(super) fn upstreams(&self) -> &[v1::Upstream] {
        &self.upstreams
    }

    /// A bundle by which nobody can call.
    pub(super) fn nobody(&self) -> Snapshot {
        // They could be had at the start, and the environment does not change.
        let credentials =
            credentials(&self.nobody, &self.environment, "settings").unwrap_or_else(|_| HashMap::default());
        Snapshot::new(self.nobody.clone(), credentials)
    }

    /// A bundle of the control plane, with this host's engines.
    ///
    /// # Errors
    ///
    /// Says which field does not validate.
    pub(super) fn snapshot(&self, mut wire: v1::Bundle) -> Result<Snapshot, Invalid> {
        wire.upstreams.clone_from(&self.upstreams);
        let bundle = bundle_of(wire)?;
        let credentials = credentials(&bundle, &self.environment, "settings")
            .map_err(|fault| Invalid { path: "upstreams".to_owned(), problem: fault.to_string() })?;
        Ok(Snapshot::new(bundle, credentials))
    }
}
