//! What a gateway has beside the others when it belongs to a control plane.

#[cfg(test)]
mod tests;

use crate::{
    clock::Clock,
    control_plane::Standing,
    enrolment::{Identity, IdentityError, Link, Renewer},
    reporter::{LAST_WORK, Reporter},
    settings::Environment,
    source::{ControlPlane, Looks, Source, SourceFault},
    usage::{AuthorityMark, SpoolWriter},
};
use attach_proto::{enrolment::AgentName, v1};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// The enrolment, and the connection that source, reporter and renewal share.
pub(crate) struct Managed {
    state: PathBuf,
    clock: Clock,
    identities: watch::Sender<Arc<Identity>>,
    link: Link,
    standing: Arc<Standing>,
}

/// The tasks of it.
pub(crate) struct Running {
    renewer: JoinHandle<()>,
    reporter: JoinHandle<()>,
    drain: CancellationToken,
}

impl Managed {
    /// # Errors
    ///
    /// An enrolment that can't be read.
    pub(crate) fn load(state: &Path, clock: Clock) -> Result<Self, IdentityError> {
        let identity = Identity::load(state)?;
        let standing = Arc::new(Standing::default());
        standing.note(|state| state.certificate_ends = Some(identity.not_after));
        let (identities, receiver) = watch::channel(Arc::new(identity));
        Ok(Self { state: state.to_owned(), clock, identities, link: Link::new(receiver), standing })
    }

    pub(crate) fn name(&self) -> AgentName {
        self.identities.borrow().name.clone()
    }

    /// Which control plane usage is for.
    pub(crate) fn authority(&self) -> AuthorityMark {
        // An identity without an authority would not have been taken.
        AuthorityMark::new(self.identities.borrow().authorities_sha256().next().unwrap_or_default())
    }

    pub(crate) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// # Errors
    ///
    /// What the host declares of its engines is wrong.
    pub(crate) fn source(
        &self,
        upstreams: Vec<v1::Upstream>,
        environment: Environment,
        looks: Looks,
    ) -> Result<Source, SourceFault> {
        let (link, standing) = (self.link.clone(), self.standing());
        let clock = self.clock.clone();
        let control_plane =
            ControlPlane::new(link, &self.state, upstreams, environment, clock, standing, looks)?;
        Ok(Source::ControlPlane(Box::new(control_plane)))
    }

    /// Starts what runs beside the source, on the runtime that this is called in.
    pub(crate) fn start(self, spool: &SpoolWriter) -> Running {
        let Self { state, clock, identities, link, standing } = self;
        let drain = CancellationToken::new();
        let reporter = Reporter::new(&state, spool.id(), spool.handle(), link.clone(), Arc::clone(&standing));
        let renewer = Renewer { state, link, identities, clock, standing };
        Running {
            renewer: tokio::spawn(renewer.run()),
            reporter: tokio::spawn(reporter.run(drain.clone())),
            drain,
        }
    }
}

impl Running {
    /// To be called when no more events come: sends what is left, for a while.
    pub(crate) async fn finish(self) {
        self.drain.cancel();
        self.renewer.abort();
        if timeout(LAST_WORK, self.reporter).await.is_err() {
            tracing::warn!("not all usage could be sent within {LAST_WORK:?}; the next start sends the rest");
        }
    }
}
