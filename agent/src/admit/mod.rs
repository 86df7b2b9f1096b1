//! Whether a request fits its limits, decided and reserved in one step: [`Grant`] → [`Ticket`].

mod accounts;
mod breaker;
mod counter;
mod link;
mod live;
mod local;
mod redis;
mod script;
mod store;
mod ticket;
mod undone;

#[cfg(test)]
mod tests;

pub(crate) use local::LocalStore;
pub(crate) use redis::{InvalidAddress, RedisStore};
pub(crate) use store::{
    Admission, Admitted, Applied, Ask, Consumed, OutputAsk, QuotaStore, RENEWAL_INTERVAL, Reached,
    Reservation, Settlement, Standing, StoreClock, StoreFault,
};
pub(crate) use ticket::{Durable, Hold, Settled, Ticket};

use crate::{
    authorize::{Grant, matches_any},
    clock::Clock,
    snapshot::Snapshot,
};
use attach_proto::{
    bundle::{Counter, Limit, Measure, QuotaOutage, QuotaStoreKind},
    id::{AgentId, ModelName, QuotaStoreId, TenantId},
};
use live::Live;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};
use ticket::Admittance;
use tokio::{sync::mpsc, task::JoinHandle};
use uuid::Uuid;

/// Output tokens that a stream reserves at a time, for each choice. Small enough that a stream that ends holds
/// little back, large enough that a fast stream (100 tokens a second) extends every few seconds only.
pub(crate) const STEP: u64 = 256;

/// Output tokens that a request without streaming may have when neither it nor the model says: as much as common
/// engines give by default to a chat.
const DEFAULT_OUTPUT_CAP: u64 = 4096;

/// Requests that a core may have in progress: each has its place in the settler's queue.
pub(crate) const MAX_IN_PROGRESS: usize = 16_384;

#[derive(Debug)]
pub(crate) enum NotAdmitted {
    Reached(Reached),
    StoreUnavailable(StoreFault),
    Overloaded,
}

/// A store that this core uses, with the task that looks after its connection.
struct OpenStore {
    kind: QuotaStoreKind,
    store: Rc<QuotaStore>,
    upkeep: JoinHandle<()>,
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

/// One core's way to the quota stores and the settler.
pub(crate) struct Admitter {
    /// Shared by all cores.
    local: Arc<LocalStore>,
    stores: RefCell<HashMap<QuotaStoreId, OpenStore>>,
    live: Live,
    lost: Cell<u64>,
    /// `None` once no more requests come.
    settler: RefCell<Option<mpsc::Sender<Settled>>>,
    clock: Clock,
    agent: AgentId,
}

impl Admitter {
    pub(crate) fn new(
        local: Arc<LocalStore>,
        settler: mpsc::Sender<Settled>,
        clock: Clock,
        agent: AgentId,
    ) -> Self {
        Self {
            local,
            stores: RefCell::default(),
            live: Live::new(),
            lost: Cell::new(0),
            settler: RefCell::new(Some(settler)),
            clock,
            agent,
        }
    }

    pub(crate) async fn admit(&self, grant: Grant, request_id: Rc<str>) -> Result<Box<Ticket>, NotAdmitted> {
        let settler = self.settler.borrow().clone().ok_or(NotAdmitted::Overloaded)?;
        let queue = settler.try_reserve_owned().map_err(|_| NotAdmitted::Overloaded)?;
        let id = Uuid::now_v7();
        let mut admittance = Admittance { hold: None, standing: Vec::new(), output_cap: None, queue };
        let limits = applied(&grant);
        let cap = cap(&grant);
        admittance.output_cap = cap.of_model_if_it_binds();
        if limits.is_empty() {
            return Ok(self.ticket(grant, id, request_id, admittance));
        }
        let (store, on_outage) = self
            .store_of(&grant.principal().tenant, grant.snapshot())
            .map_err(NotAdmitted::StoreUnavailable)?;
        let ask = Ask {
            id,
            tenant: grant.principal().tenant.clone(),
            output: output_ask(&grant, cap, &limits),
            input: grant.ask().input_estimate(),
            limits,
        };
        let counts_output = ask.limits.iter().any(|limit| counts_output(limit.measure));
        match store.admit(ask).await {
            Ok(Admission::Admitted(Admitted { output, reservation, standing })) => {
                let each = output / grant.ask().choices().max(1);
                // An answer in one piece can't be cut, so the engine is told where to stop.
                let must_tell = counts_output && grant.ask().generates() && !grant.ask().stream();
                if must_tell {
                    admittance.output_cap = Some(each.max(1));
                }
                admittance.hold = Some(self.live.enter(store, reservation));
                admittance.standing = standing;
                Ok(self.ticket(grant, id, request_id, admittance))
            }
            Ok(Admission::Refused(reached)) => Err(NotAdmitted::Reached(reached)),
            Err(fault) => match on_outage {
                QuotaOutage::Deny => Err(NotAdmitted::StoreUnavailable(fault)),
                QuotaOutage::Allow => Ok(self.ticket(grant, id, request_id, admittance)),
            },
        }
    }

    fn ticket(&self, grant: Grant, id: Uuid, request_id: Rc<str>, admittance: Admittance) -> Box<Ticket> {
        Ticket::new(grant, id, self.clock.now(), self.agent.clone(), request_id, admittance)
    }

    /// Settlements that this core's stores gave up since this was last asked.
    pub(crate) fn newly_lost(&self) -> u64 {
        let of_store = |open: &OpenStore| match open.store.as_ref() {
            QuotaStore::Local(_) => 0,
            QuotaStore::Redis(store) => store.lost(),
        };
        let lost = self.stores.borrow().values().map(of_store).sum();
        lost - self.lost.replace(lost).min(lost)
    }

    /// Keeps the reservations of requests in progress alive.
    pub(crate) async fn renew_if_due(&self) {
        self.live.renew_if_due().await;
    }

    /// From here on nothing is admitted. The stores stay open for what is still to be settled.
    pub(crate) fn close(&self) {
        self.settler.take();
    }

    /// Connects to the stores of all tenants, before their first request.
    pub(crate) fn open_stores(&self, snapshot: &Snapshot) {
        for tenant in &snapshot.bundle().tenants {
            // A store that can't be opened is told to the request that needs it.
            let _ = self.store_of(&tenant.id, snapshot);
        }
    }

    /// The tenant's one store. A store whose address changed is connected anew.
    fn store_of(
        &self,
        tenant: &TenantId,
        snapshot: &Snapshot,
    ) -> Result<(Rc<QuotaStore>, QuotaOutage), StoreFault> {
        // The bundle was checked: each tenant has its store.
        let tenant = snapshot.tenant(tenant).ok_or(StoreFault::Unavailable)?;
        let declared = snapshot.quota_store(&tenant.quota_store).ok_or(StoreFault::Unavailable)?;
        let mut stores = self.stores.borrow_mut();
        if let Some(open) = stores.get(&declared.id)
            && open.kind == declared.kind
        {
            return Ok((Rc::clone(&open.store), tenant.on_quota_outage));
        }
        let store = Rc::new(match &declared.kind {
            QuotaStoreKind::Local => QuotaStore::Local(Arc::clone(&self.local)),
            QuotaStoreKind::Redis { url, call_budget } => QuotaStore::Redis(
                RedisStore::new(url, *call_budget, StoreClock::Own)
                    .map_err(|InvalidAddress| StoreFault::Unavailable)?,
            ),
        });
        let upkeep = tokio::task::spawn_local({
            let store = Rc::clone(&store);
            async move { store.run().await }
        });
        let kind = declared.kind.clone();
        stores.insert(declared.id.clone(), OpenStore { kind, store: Rc::clone(&store), upkeep });
        Ok((store, tenant.on_quota_outage))
    }
}

/// The limits that hold for this request, each with the key of its counter.
fn applied(grant: &Grant) -> Vec<Applied> {
    if !grant.ask().route().operation.is_metered() {
        return Vec::new();
    }
    let holds = |limit: &&Limit| {
        let scope = &limit.scope;
        let covers_model = scope.models.is_empty()
            || grant.model().is_some_and(|model| {
                let is_it = |name: &ModelName| name.canonical() == model.canonical.as_str();
                scope.models.iter().any(is_it)
            });
        covers_model && matches_any(&scope.principals, &scope.groups, grant.principal())
    };
    let limits = grant.snapshot().limits(&grant.principal().tenant).filter(holds);
    limits
        .map(|limit| Applied {
            limit: limit.id.clone(),
            counter_key: counter_key(limit, grant),
            measure: limit.measure,
            window: limit.window,
            amount: limit.amount,
        })
        .collect()
}

/// Unique within the tenant. The parts are divided by a character that none of them can contain: ids and model names
/// have no control characters, and a subject comes last.
fn counter_key(limit: &Limit, grant: &Grant) -> String {
    const DIVIDER: char = '\u{1f}';
    let mut key = limit.id.to_string();
    let mut push = |part: &str| {
        key.push(DIVIDER);
        key.push_str(part);
    };
    if matches!(limit.counter, Counter::EachModel | Counter::EachPrincipalAndModel) {
        push(grant.model().map_or("", |model| model.canonical.as_str()));
    }
    if matches!(limit.counter, Counter::EachPrincipal | Counter::EachPrincipalAndModel) {
        let principal = grant.principal();
        push(principal.kind.name());
        push(principal.provider.as_ref().map_or("", |provider| provider.as_str()));
        push(&principal.subject);
    }
    key
}

/// What bounds the output of each choice, before any limit.
#[derive(Debug, Clone, Copy)]
struct Cap {
    asked: Option<u64>,
    model: Option<u64>,
}

fn cap(grant: &Grant) -> Cap {
    let declared = grant.model().and_then(|model| model.declared.as_ref());
    Cap { asked: grant.ask().output_asked(), model: declared.and_then(|model| model.max_output_tokens) }
}

impl Cap {
    /// The model's cap, when the caller asked for more, or for nothing in particular.
    fn of_model_if_it_binds(self) -> Option<u64> {
        self.model.filter(|&model| self.asked.is_none_or(|asked| asked > model))
    }
}

/// How much output to reserve. A stream takes one step and extends later. An answer in one piece takes all that was
/// asked for, because it can't be stopped half-way; when nothing was asked for, whatever fits, but a step at least.
/// Nobody can be granted more than the limit's whole amount, so nobody asks for more.
fn output_ask(grant: &Grant, cap: Cap, limits: &[Applied]) -> OutputAsk {
    let ask = grant.ask();
    if !ask.generates() {
        return OutputAsk { at_least: 0, at_most: 0 };
    }
    let choices = ask.choices().max(1);
    let bound = [cap.asked, cap.model].into_iter().flatten().min();
    let wanted = bound.unwrap_or(DEFAULT_OUTPUT_CAP).saturating_mul(choices);
    let step = STEP.saturating_mul(choices).min(wanted);
    let room = limits.iter().filter(|limit| counts_output(limit.measure)).map(|limit| match limit.measure {
        Measure::TotalTokens => limit.amount.saturating_sub(ask.input_estimate()),
        Measure::OutputTokens | Measure::InputTokens | Measure::Requests => limit.amount,
    });
    let room = room.min().unwrap_or(u64::MAX).max(1);
    let (at_least, at_most) = match (ask.stream(), cap.asked) {
        (true, _) => (step, step),
        (false, Some(_)) => (wanted, wanted),
        (false, None) => (step, wanted),
    };
    OutputAsk { at_least: at_least.min(room), at_most: at_most.min(room) }
}

fn counts_output(measure: Measure) -> bool {
    match measure {
        Measure::OutputTokens | Measure::TotalTokens => true,
        Measure::InputTokens | Measure::Requests => false,
    }
}
