//! Which engine serves it: model → upstreams that have it → the least loaded by weight.

use crate::{
    admit::Ticket,
    snapshot::{Engine, Snapshot},
};
use attach_proto::{
    bundle::{ModelTarget, Upstream},
    id::{ModelName, UpstreamId},
};
use foldhash::HashMap;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long an engine that could not be reached is asked last.
const SHUN: Duration = Duration::from_secs(1);

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) engine: Arc<Engine>,
    /// The engine's name of the model; `None` for requests without one.
    pub(crate) engine_model: Option<ModelName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No upstream has the model.
    NoUpstream,
    /// Each upstream that has it is at its in-flight cap.
    Busy,
}

/// What all cores know of the engines' load.
#[derive(Debug, Clone)]
pub(crate) struct Engines {
    loads: Arc<parking_lot::RwLock<HashMap<UpstreamId, Arc<Load>>>>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Load {
    in_flight: AtomicU32,
    /// Milliseconds after the start until which it is shunned.
    shunned_until: AtomicU64,
}

/// A place at an engine, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Load>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engines {
    pub(crate) fn new() -> Self {
        Self { loads: Arc::default(), started: Instant::now() }
    }

    /// The best of those not yet tried, with a place at it.
    pub(crate) fn choose(&self, ticket: &Ticket, tried: &[UpstreamId]) -> Result<(Target, Place), NoRoute> {
        let mut targets = candidates(ticket);
        targets.retain(|target| !tried.contains(&target.engine.upstream.id));
        if targets.is_empty() {
            return Err(NoRoute::NoUpstream);
        }
        if targets.len() > 1 {
            self.sort(&mut targets);
        }
        targets
            .into_iter()
            .find_map(|target| Some((self.take_place(&target.engine.upstream)?, target)))
            .map(|(place, target)| (target, place))
            .ok_or(NoRoute::Busy)
    }

    /// Whether none of them would take another request, whatever its model.
    pub(crate) fn are_full(&self, snapshot: &Snapshot) -> bool {
        let is_full = |engine: &Arc<Engine>| {
            let in_flight = || self.load(&engine.upstream.id).in_flight.load(Ordering::Relaxed);
            engine.upstream.max_in_flight.is_some_and(|cap| in_flight() >= cap)
        };
        !snapshot.engines().is_empty() && snapshot.engines().iter().all(is_full)
    }

    /// The least loaded first, by weight; those that could not be reached last.
    fn sort(&self, targets: &mut [Target]) {
        let now = self.milliseconds();
        targets.sort_by_cached_key(|target| {
            let load = self.load(&target.engine.upstream.id);
            let is_shunned = load.shunned_until.load(Ordering::Relaxed) > now;
            let in_flight = u64::from(load.in_flight.load(Ordering::Relaxed));
            // In thousandths, so that weights of small numbers tell.
            (is_shunned, (in_flight + 1) * 1000 / u64::from(target.engine.upstream.weight.max(1)))
        });
    }

    pub(crate) fn shun(&self, upstream: &UpstreamId) {
        let until = self.milliseconds() + u64::try_from(SHUN.as_millis()).unwrap_or(u64::MAX);
        self.load(upstream).shunned_until.store(until, Ordering::Relaxed);
    }

    fn take_place(&self, upstream: &Upstream) -> Option<Place> {
        let load = self.load(&upstream.id);
        let cap = upstream.max_in_flight.unwrap_or(u32::MAX);
        let add = |now: u32| (now < cap).then_some(now + 1);
        load.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Place(load))
    }

    fn load(&self, upstream: &UpstreamId) -> Arc<Load> {
        if let Some(load) = self.loads.read().get(upstream) {
            return Arc::clone(load);
        }
        Arc::clone(self.loads.write().entry(upstream.clone()).or_default())
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn candidates(ticket: &Ticket) -> Vec<Target> {
    let snapshot = ticket.snapshot();
    if let Some(engine) = ticket.pinned() {
        return vec![Target { engine: Arc::clone(engine), engine_model: None }];
    }
    let to = |engine: &Arc<Engine>, engine_model: Option<&ModelName>| Target {
        engine: Arc::clone(engine),
        engine_model: engine_model.cloned(),
    };
    let Some(model) = ticket.model() else {
        return snapshot.engines().first().map(|engine| to(engine, None)).into_iter().collect();
    };
    // An operator may have opened a route for one engine alone.
    let opened_for = ticket.ask().opened_for();
    let is_open = |upstream: &UpstreamId| opened_for.is_none_or(|id| id == upstream);
    if let Some(declared) = &model.declared {
        let target =
            |target: &ModelTarget| Some(to(snapshot.engine(&target.upstream)?, Some(&target.engine_model)));
        let targets = declared.targets.iter().filter(|target| is_open(&target.upstream));
        return targets.filter_map(target).collect();
    }
    // Names pass through as they were asked for: the engine knows best what it calls its models.
    let serves = |engine: &&Arc<Engine>| {
        let models = &engine.upstream.models;
        let is_it = |name: &ModelName| name.canonical() == model.canonical.as_str();
        is_open(&engine.upstream.id) && (models.is_empty() || models.iter().any(is_it))
    };
    let asked = ticket.ask().model();
    snapshot.engines().iter().filter(serves).map(|engine| to(engine, asked)).collect()
}
