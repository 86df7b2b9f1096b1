//! The evidence that a request was admitted.

use super::{Consumed, QuotaStore, Reservation, Standing, live, output::counts_output};
use crate::{
    ask::{Ask, Metering, Upload},
    authorize::{Grant, GrantedModel},
    identify::Principal,
    meter::Reading,
    snapshot::{Engine, Snapshot},
    usage::SpoolFault,
};
use attach_proto::{
    bundle::Durability,
    id::{AgentId, PoolId},
    usage::{Attempt, MeasureSource, MeasuredQuantity, Outcome, UsageEvent},
};
use jiff::Timestamp;
use std::{net::IpAddr, rc::Rc, sync::Arc, time::Instant};
use tokio::sync::{mpsc::OwnedPermit, oneshot};
use uuid::Uuid;

/// Told when the usage event is durable, or can't be made so.
pub(crate) type Durable = oneshot::Receiver<Result<(), SpoolFault>>;

/// A request that may be forwarded. Holds what was reserved for it, and settles exactly once: by
/// [`Ticket::settle`], or else when it is dropped, which is what happens when the caller hangs up.
///
/// Settling can't fail: the place in the settler's queue was taken at admission. Boxed, because each stage hands it on.
#[derive(Debug)]
pub(crate) struct Ticket {
    grant: Grant,
    id: Uuid,
    occurred_at: Timestamp,
    started: Instant,
    agent: AgentId,
    pool: Option<PoolId>,
    request_id: Rc<str>,
    /// Where the caller is, for the access log.
    client: Option<IpAddr>,
    hold: Option<Hold>,
    standing: Vec<Standing>,
    output_cap: Option<u64>,
    queue: Option<OwnedPermit<Settled>>,
    progress: Progress,
}

/// A reservation, and the store that it is in.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) store: Rc<QuotaStore>,
    pub(crate) reservation: Reservation,
    pub(super) entry: live::Entry,
}

/// What is known so far of how it goes.
#[derive(Debug, Default)]
struct Progress {
    attempts: Vec<Attempt>,
    http_status: Option<u16>,
    first_byte: Option<Instant>,
    reading: Reading,
}

/// A settled ticket, on its way to the spool, the quota store and the access log.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) event: UsageEvent,
    pub(crate) client: Option<IpAddr>,
    /// Whether the event is usage. Requests that only read (lists of models, health) are logged, not metered.
    pub(crate) is_metered: bool,
    pub(crate) hold: Option<Hold>,
    pub(crate) consumed: Consumed,
    pub(crate) waiter: Option<oneshot::Sender<Result<(), SpoolFault>>>,
}

/// What admission found out; see [`Ticket::new`].
pub(super) struct Admittance {
    pub(super) hold: Option<Hold>,
    pub(super) standing: Vec<Standing>,
    pub(super) output_cap: Option<u64>,
    pub(super) queue: OwnedPermit<Settled>,
}

impl Ticket {
    pub(super) fn new(
        grant: Grant,
        id: Uuid,
        occurred_at: Timestamp,
        (agent, pool): (AgentId, Option<PoolId>),
        request_id: Rc<str>,
        admittance: Admittance,
    ) -> Box<Self> {
        let Admittance { hold, standing, output_cap, queue } = admittance;
        Box::new(Self {
            grant,
            id,
            occurred_at,
            started: Instant::now(),
            agent,
            pool,
            request_id,
            client: None,
            hold,
            standing,
            output_cap,
            queue: Some(queue),
            progress: Progress::default(),
        })
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn occurred_at(&self) -> Timestamp {
        self.occurred_at
    }

    pub(crate) fn ask(&self) -> &Ask {
        self.grant.ask()
    }

    pub(crate) fn principal(&self) -> &Principal {
        self.grant.principal()
    }

    pub(crate) fn model(&self) -> Option<&GrantedModel> {
        self.grant.model()
    }

    /// The one engine that it goes to, when no model leads to one.
    pub(crate) fn pinned(&self) -> Option<&Arc<Engine>> {
        self.grant.pinned()
    }

    pub(crate) fn take_upload(&mut self) -> Option<Upload> {
        self.grant.take_upload()
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        self.grant.snapshot()
    }

    pub(crate) fn came_from(&mut self, client: IpAddr) {
        self.client = Some(client);
    }

    /// How the limits stand, for the headers of the answer; asked once.
    pub(crate) fn take_standing(&mut self) -> Vec<Standing> {
        std::mem::take(&mut self.standing)
    }

    /// The most output tokens that each choice may have, when the engine must be told.
    pub(crate) fn output_cap(&self) -> Option<u64> {
        self.output_cap
    }

    /// Output tokens that are reserved now; `None` when nothing limits them.
    pub(crate) fn reserved_output(&self) -> Option<u64> {
        let hold = self.hold.as_ref().filter(|hold| hold.reservation.measures().any(counts_output));
        hold.map(|hold| hold.reservation.output())
    }

    pub(crate) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Takes the reservation as an extension left it.
    pub(crate) fn replace_reservation(&mut self, reservation: Reservation) {
        if let Some(hold) = &mut self.hold {
            hold.entry.replace(&reservation);
            hold.reservation = reservation;
        }
    }

    pub(crate) fn attempted(&mut self, attempt: Attempt) {
        self.progress.attempts.push(attempt);
    }

    pub(crate) fn answered(&mut self, http_status: u16) {
        self.progress.http_status = Some(http_status);
    }

    /// The engine answers.
    pub(crate) fn first_byte(&mut self) {
        self.grant.forget_body();
        self.progress.first_byte.get_or_insert_with(Instant::now);
    }

    pub(crate) fn read(&mut self, reading: Reading) {
        self.progress.reading = reading;
    }

    /// What the tenant wants when the usage event can't be made durable.
    pub(crate) fn durability(&self) -> Durability {
        let tenant = self.snapshot().tenant(&self.principal().tenant);
        tenant.map_or(Durability::Strict, |tenant| tenant.durability)
    }

    /// Ends it without an answer from the engine. Nobody waits for the event: a refusal has no end marker to hold
    /// back.
    pub(crate) fn failed(&mut self, http_status: u16, outcome: Outcome) {
        self.answered(http_status);
        self.finish(outcome, None);
    }

    /// Ends it. The answer's last bytes wait for what this returns.
    pub(crate) fn settle(mut self, outcome: Outcome) -> Durable {
        let (waiter, durable) = oneshot::channel();
        self.finish(outcome, Some(waiter));
        durable
    }

    fn finish(&mut self, outcome: Outcome, waiter: Option<oneshot::Sender<Result<(), SpoolFault>>>) {
        // Taken once: a ticket that settled is dropped right after, and must not settle again.
        let Some(queue) = self.queue.take() else { return };
        let measures = self.measures(outcome);
        let quantity = |kind: &str| measures.iter().find(|it| it.kind == kind).map_or(0, |it| it.quantity);
        let consumed = Consumed {
            input: quantity(MeasuredQuantity::INPUT_TOKENS),
            output: quantity(MeasuredQuantity::OUTPUT_TOKENS),
        };
        let route = self.grant.ask().route();
        let progress = std::mem::take(&mut self.progress);
        let event = UsageEvent {
            event_id: self.id,
            occurred_at: self.occurred_at,
            tenant: self.grant.principal().tenant.clone(),
            pool: self.pool.clone(),
            agent: self.agent.clone(),
            request_id: self.request_id.as_ref().to_owned(),
            operation: self.grant.ask().operation_name(),
            dialect: route.dialect.name().into(),
            model: self.grant.model().map(|model| model.canonical.clone()),
            stream: self.grant.ask().stream(),
            principal: self.grant.principal().snapshot(),
            measures,
            outcome,
            http_status: progress.http_status,
            bundle_revision: self.grant.snapshot().bundle().revision,
            attempts: progress.attempts,
            time_to_first_byte: progress.first_byte.map(|at| at.duration_since(self.started)),
            duration: self.started.elapsed(),
        };
        let is_metered = route.metering.is_metered();
        let client = self.client;
        queue.send(Settled { event, client, is_metered, hold: self.hold.take(), consumed, waiter });
    }

    /// The engine's word where it has one, else the gateway's own count, marked as such. Before the first byte of
    /// an answer nothing was consumed: the engine refused, or never got to it.
    fn measures(&self, outcome: Outcome) -> Vec<MeasuredQuantity> {
        let reading = &self.progress.reading;
        if self.grant.ask().route().metering != Metering::Usage || self.progress.first_byte.is_none() {
            return Vec::new();
        }
        let engine_said_nothing = reading.input.is_none() && reading.output.is_none();
        if engine_said_nothing && reading.deltas == 0 && outcome == Outcome::EngineError {
            return Vec::new();
        }
        let measure = |kind: &'static str, said: Option<u64>, counted: u64| MeasuredQuantity {
            kind: kind.into(),
            quantity: said.unwrap_or(counted),
            source: if said.is_some() { MeasureSource::Engine } else { MeasureSource::Estimated },
        };
        let mut measures = vec![
            measure(MeasuredQuantity::INPUT_TOKENS, reading.input, self.grant.ask().input_estimate()),
            // The engine counts more than it sent when it stopped mid-way, never less.
            measure(MeasuredQuantity::OUTPUT_TOKENS, reading.output, reading.deltas),
        ];
        if let Some(cached) = reading.cached_input {
            measures.push(measure(MeasuredQuantity::CACHED_INPUT_TOKENS, Some(cached), 0));
        }
        measures
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.finish(Outcome::ClientGone, None);
    }
}
