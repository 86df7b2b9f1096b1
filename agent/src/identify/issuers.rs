//! The issuers of the bundle in force, each with the task that keeps its keys.

use super::{
    demand_budget::DemandBudget,
    issuer_keys::{Attempts, IssuerKeys, RenewFault},
    key_file::KeyFile,
    key_set::KeySet,
    pace::Pace,
    pushed::{Asker, KeyLine},
    renew::Renewer,
    source::Source,
};
use crate::{clock::Clock, fetch::Fetcher, snapshot::Snapshot};
use arc_swap::ArcSwap;
use attach_proto::{bundle::IdentityProvider, did::Did};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, task::AbortHandle};
use url::Url;

/// Shared by all cores.
pub(crate) struct Issuers {
    running: ArcSwap<HashMap<String, Vec<Arc<Running>>>>,
    /// One bundle is applied at a time.
    applying: Mutex<()>,
    control: Handle,
    directory: PathBuf,
    clock: Clock,
    fetcher: Fetcher,
    pace: Pace,
    budget: Arc<DemandBudget>,
    line: Arc<KeyLine>,
}

/// What an operator is shown of an issuer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IssuerStatus {
    /// As configured.
    pub(crate) issuer: String,
    /// Where its keys come from, when that is not its metadata: an address, `bundle`, or `control plane`.
    pub(crate) source: Option<String>,
    /// What tokens must have as `iss`; `None` until the issuer was heard once.
    pub(crate) effective_issuer: Option<String>,
    pub(crate) keys: usize,
    pub(crate) skipped_keys: usize,
    /// The last that brought keys.
    pub(crate) last_fetch: Option<Timestamp>,
    /// Of the last attempt, when it failed.
    pub(crate) last_error: Option<String>,
    /// The keys are older than the time after which they should have been renewed.
    pub(crate) stale: bool,
    /// Tokens of this issuer can be verified.
    pub(crate) usable: bool,
    pub(crate) attempts: Attempts,
}

struct Running {
    keys: Arc<IssuerKeys>,
    /// `None` where the keys came with the bundle.
    task: Option<AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Issuers {
    /// `control` is the runtime on which the issuers are asked, apart from those that serve requests; `state` the
    /// directory below which their last good keys are kept.
    pub(crate) fn new(control: Handle, state: &Path, clock: Clock, fetcher: Fetcher) -> Self {
        Self::with_pace(control, state, clock, fetcher, Pace::default())
    }

    pub(crate) fn with_pace(
        control: Handle,
        state: &Path,
        clock: Clock,
        fetcher: Fetcher,
        pace: Pace,
    ) -> Self {
        Self {
            running: ArcSwap::default(),
            applying: Mutex::new(()),
            control,
            directory: state.join("jwks"),
            clock,
            fetcher,
            pace,
            budget: Arc::new(DemandBudget::new(pace.demands_per_second)),
            line: Arc::default(),
        }
    }

    /// Keys are renewed before they are `ttl` old. To be said before the first bundle is applied.
    pub(crate) fn with_ttl(mut self, ttl: Duration) -> Self {
        self.pace = self.pace.with_ttl(ttl);
        self
    }

    /// Where the control plane is asked for keys that it fetches.
    pub(crate) fn line(&self) -> Arc<KeyLine> {
        Arc::clone(&self.line)
    }

    /// Starts with the issuers that are new in a bundle, stops with those that are gone, leaves the others alone.
    /// To be called before requests are served by the bundle. Reads the stored keys of new issuers from disk.
    pub(crate) fn apply(&self, snapshot: &Snapshot) {
        let _one_at_a_time = self.applying.lock();
        let before = self.running.load_full();
        let mut running: HashMap<String, Vec<Arc<Running>>> = HashMap::new();
        for provider in &snapshot.bundle().identity_providers {
            if find(&running, provider).is_none() {
                let one =
                    find(&before, provider).cloned().unwrap_or_else(|| self.start(Source::of(provider)));
                running.entry(provider.issuer.clone()).or_default().push(one);
            }
        }
        receive(&running, &snapshot.bundle().identity_providers);
        for source in snapshot.web_dids().filter_map(Source::of_did) {
            if find_source(&running, &source).is_none() {
                let one = find_source(&before, &source).cloned();
                let one = one.unwrap_or_else(|| self.start(source.clone()));
                running.entry(source.issuer).or_default().push(one);
            }
        }
        self.running.store(Arc::new(running));
    }

    /// For readiness and metrics, by issuer; no more than `max`, those in trouble first.
    pub(crate) fn status_of(&self, max: usize) -> Vec<IssuerStatus> {
        let mut all = self.status();
        all.sort_by_key(|status| (status.usable && status.last_error.is_none(), !status.stale));
        all.truncate(max);
        all
    }

    /// All, by issuer.
    pub(crate) fn status(&self) -> Vec<IssuerStatus> {
        let now = self.clock.now();
        let running = self.running.load();
        let mut all: Vec<_> = running.values().flatten().map(|one| status(&one.keys, now)).collect();
        all.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        all
    }

    /// `None` for a provider whose bundle was not applied.
    pub(super) fn keys_of(&self, provider: &IdentityProvider) -> Option<Arc<IssuerKeys>> {
        find(&self.running.load(), provider).map(|one| Arc::clone(&one.keys))
    }

    /// `None` for a DID that no bundle in force names, or that has no document.
    pub(super) fn keys_of_did(&self, did: &Did) -> Option<Arc<IssuerKeys>> {
        find_source(&self.running.load(), &Source::of_did(did)?).map(|one| Arc::clone(&one.keys))
    }

    fn start(&self, source: Source) -> Arc<Running> {
        if let Some(Ok(keys)) = source.jwks.as_ref().map(|jwks| KeySet::parse(jwks.as_bytes())) {
            let keys = Arc::new(IssuerKeys::given(source, keys, self.pace, Arc::clone(&self.budget)));
            return Arc::new(Running { keys, task: None });
        }
        if source.is_pushed() {
            let keys = Arc::new(IssuerKeys::pushed(source, self.pace, Arc::clone(&self.budget)));
            let asker = Asker { keys: Arc::clone(&keys), line: Arc::clone(&self.line) };
            return Arc::new(Running { keys, task: Some(self.control.spawn(asker.run()).abort_handle()) });
        }
        let file = Arc::new(KeyFile::new(&self.directory, &source));
        let keys = Arc::new(IssuerKeys::new(source, file.load(), self.pace, Arc::clone(&self.budget)));
        let renewer = Renewer {
            keys: Arc::clone(&keys),
            file,
            clock: self.clock.clone(),
            fetcher: self.fetcher.clone(),
        };
        Arc::new(Running { keys, task: Some(self.control.spawn(renewer.run()).abort_handle()) })
    }
}

/// Hands out what the control plane sent. Two providers may mean one source, by two spellings of their issuer, and only the
/// one that was there first have keys yet.
fn receive(running: &HashMap<String, Vec<Arc<Running>>>, providers: &[IdentityProvider]) {
    let mut sent: HashMap<*const Running, Option<&Arc<str>>> = HashMap::new();
    for provider in providers {
        if let Some(one) = find(running, provider).filter(|one| one.keys.source.is_pushed()) {
            let jwks = sent.entry(Arc::as_ptr(one)).or_default();
            *jwks = jwks.or(provider.jwks.as_ref());
        }
    }
    for one in running.values().flatten() {
        if let Some(jwks) = sent.get(&Arc::as_ptr(one)) {
            one.keys.receive(*jwks);
        }
    }
}

fn find<'a>(
    running: &'a HashMap<String, Vec<Arc<Running>>>,
    provider: &IdentityProvider,
) -> Option<&'a Arc<Running>> {
    let is_same = |source: &Source| {
        source.jwks_url == provider.jwks_url
            && source.key_source == provider.key_source
            && (source.is_pushed() || source.jwks == provider.jwks)
    };
    running.get(&provider.issuer)?.iter().find(|one| is_same(&one.keys.source))
}

fn find_source<'a>(
    running: &'a HashMap<String, Vec<Arc<Running>>>,
    source: &Source,
) -> Option<&'a Arc<Running>> {
    running.get(&source.issuer)?.iter().find(|one| one.keys.source == *source)
}

fn status(keys: &IssuerKeys, now: Timestamp) -> IssuerStatus {
    let state = keys.state();
    let held = state.held.as_deref();
    let failure = state.failure.as_deref();
    let is_old = |fetched_at: Timestamp| {
        now.duration_since(fetched_at).unsigned_abs() > keys.pace.refresh && now > fetched_at
    };
    IssuerStatus {
        issuer: keys.source.issuer.clone(),
        source: match (&keys.source.jwks, &keys.source.jwks_url) {
            _ if keys.source.is_pushed() => Some("control plane".to_owned()),
            (Some(_), _) => Some("bundle".to_owned()),
            (None, address) => address.as_ref().map(Url::to_string),
        },
        effective_issuer: held.map(|held| held.issuer.clone()),
        keys: held.map_or(0, |held| held.keys.len()),
        skipped_keys: held.map_or(0, |held| held.keys.skipped().len()),
        last_fetch: held.and_then(|held| held.fetched.as_ref()).map(|fetched| fetched.at),
        last_error: failure.filter(|it| !matches!(it, RenewFault::NotYetFetched)).map(ToString::to_string),
        stale: held.is_none_or(|held| held.fetched.as_ref().is_some_and(|fetched| is_old(fetched.at))),
        usable: keys.held(now).is_some(),
        attempts: state.attempts,
    }
}
