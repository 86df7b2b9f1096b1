//! Where bundles come from. The rest of the gateway sees a `watch` of snapshots and can't tell.
//!
//! Rules of this edge: nothing is served before the first good snapshot. A bundle that does not validate whole is
//! refused whole, said and counted, and the last good one stays.

mod control_plane;
mod file;
mod keys_file;
mod local;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;

pub(crate) use control_plane::{Asked, ControlPlane, Looks};
pub(crate) use file::{FileFault, read as read_bundle_file};

use crate::{
    identify::check_key_sets,
    settings::{Environment, LocalOrigin},
    snapshot::Snapshot,
};
use attach_proto::{
    Invalid,
    bundle::{Bundle, KeySource},
    id::UpstreamId,
    v1,
};
use foldhash::HashMap;
use http::HeaderValue;
use local::Local;
use std::sync::Arc;
use tokio::sync::watch;

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
        "{origin}: has no identity provider, no key and no DIDs, so nobody could call; add identity_providers or keys"
    )]
    NobodyCouldCall { origin: String },
}

/// Yields bundles from where the settings say.
pub(crate) enum Source {
    Local(Box<Local>),
    ControlPlane(Box<ControlPlane>),
}

/// What there is at a start.
pub(crate) enum Loaded {
    Bundle(Snapshot),
    /// There is none yet; by this one nobody can call.
    Nobody(Snapshot),
}

impl Source {
    /// A file, or what environment and flags say.
    pub(crate) fn local(origin: LocalOrigin, environment: Environment) -> Self {
        Self::Local(Box::new(Local::new(origin, environment)))
    }

    /// What can be served at once, if anything; else it takes [`follow`](Self::follow) to get a bundle.
    ///
    /// # Errors
    ///
    /// A bundle of this host's own that does not validate.
    pub(crate) fn load(&mut self) -> Result<Loaded, SourceFault> {
        match self {
            Self::Local(local) => local.load().map(Loaded::Bundle),
            Self::ControlPlane(control_plane) => Ok(control_plane
                .load()
                .map_or_else(|| Loaded::Nobody(control_plane.nobody()), Loaded::Bundle)),
        }
    }

    /// Sends each new bundle, until the receivers are gone or there can be no other. `before` is told of each snapshot
    /// before anyone is served by it.
    pub(crate) async fn follow(self, snapshots: watch::Sender<Arc<Snapshot>>, before: impl Fn(&Snapshot)) {
        match self {
            Self::Local(local) => local.follow(snapshots, before).await,
            Self::ControlPlane(control_plane) => control_plane.follow(snapshots, before).await,
        }
    }
}

/// A bundle that this gateway can serve by, but for its upstreams.
fn bundle_of(wire: v1::Bundle) -> Result<Bundle, Invalid> {
    let bundle = Bundle::try_from(wire)?;
    check_key_sets(&bundle)?;
    Ok(bundle)
}

/// `check FILE` and the gateway itself come through here.
pub(crate) fn validate(wire: v1::Bundle, name: &str) -> Result<Bundle, SourceFault> {
    let validated = bundle_of(wire)
        .and_then(|bundle| bundle.check_upstreams().map(|()| bundle))
        .and_then(|bundle| check_key_sources(&bundle).map(|()| bundle));
    validated.map_err(|invalid| SourceFault::Invalid { origin: name.to_owned(), invalid })
}

/// Nobody would send the keys.
fn check_key_sources(bundle: &Bundle) -> Result<(), Invalid> {
    let pushed = bundle.identity_providers.iter().position(|it| it.key_source == KeySource::ControlPlane);
    match pushed {
        None => Ok(()),
        Some(index) => Err(Invalid {
            path: format!("identity_providers[{index}].key_source"),
            problem: "needs a control plane, and this bundle comes from none: leave it out, or give the keys by jwks"
                .to_owned(),
        }),
    }
}

pub(crate) fn check_somebody_could_call(bundle: &Bundle, name: &str) -> Result<(), SourceFault> {
    let has_did_callers = bundle.tenants.iter().any(|tenant| tenant.did.is_some());
    if bundle.identity_providers.is_empty() && bundle.keys.is_empty() && !has_did_callers {
        return Err(SourceFault::NobodyCouldCall { origin: name.to_owned() });
    }
    Ok(())
}

/// What the engines want to be told, by the names of variables: a bundle holds no secret of a host.
fn credentials(
    bundle: &Bundle,
    environment: &Environment,
    name: &str,
) -> Result<HashMap<UpstreamId, HeaderValue>, SourceFault> {
    let named = bundle
        .upstreams
        .iter()
        .enumerate()
        .filter_map(|(index, upstream)| Some((index, &upstream.id, upstream.credential_env.as_deref()?)));
    let credential = |(index, id, variable): (usize, &UpstreamId, &str)| {
        let invalid = |problem: String| SourceFault::Invalid {
            origin: name.to_owned(),
            invalid: Invalid { path: format!("upstreams[{index}].credential_env"), problem },
        };
        let secret = environment.get(variable).ok_or_else(|| invalid(format!("{variable} is not set")))?;
        let mut header = HeaderValue::try_from(format!("Bearer {secret}"))
            .map_err(|_| invalid(format!("{variable} does not fit into a header")))?;
        header.set_sensitive(true);
        Ok((id.clone(), header))
    };
    named.map(credential).collect()
}
