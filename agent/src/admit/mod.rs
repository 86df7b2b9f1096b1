//! Whether a request fits its limits, decided and reserved in one step: [`Grant`] → [`Ticket`].

mod accounts;
mod applied;
mod breaker;
mod counter;
mod link;
mod live;
mod local;
mod output;
mod redis;
mod script;
mod store;
mod ticket;
mod undone;

#[cfg(test)]
mod tests;

pub(crate) use local::LocalStore;
pub(crate) use output::STEP;
pub(crate) use redis::{InvalidAddress, RedisStore};
pub(crate) use store::{
    Admission, Admitted, Ask, Consumed, QuotaStore, RENEWAL_INTERVAL, Reached, Reservation, Settlement,
    Standing, StoreClock, StoreFault,
};
pub(crate) use ticket::{Durable, Hold, Settled, Ticket};

use crate::{authorize::Grant, clock::Clock, snapshot::Snapshot};
use applied::applied;
pub(crate) use applied::is_about;
use attach_proto::{
    bundle::{QuotaOutage, QuotaStoreKind},
    id::{AgentId, PoolId, QuotaStoreId, TenantId},
};
use foldhash::HashMap;
use live::Live;
use output::{cap, counts_output, output_ask};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use ticket::Admittance;
use tokio::{sync::mpsc, task::JoinHandle};
use uuid::Uuid;

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
    pool: Option<PoolId>,
}

impl Admitter {
    pub(crate) fn new(
        local: Arc<LocalStore>,
        settler: mpsc::Sender<Settled>,
        clock: Clock,
        agent: AgentId,
        pool: Option<PoolId>,
    ) -> Self {
        Self {
            local,
            stores: RefCell::default(),
            live: Live::new(),
            lost: Cell::new(0),
            settler: RefCell::new(Some(settler)),
            clock,
            agent,
            pool,
        }
    }

    pub(crate) async fn admit(&self, grant: Grant, request_id: Rc<str>) -> Result<Box<Ticket>, NotAdmitted> {
        let settler = self.settler.borrow().clone().ok_or(NotAdmitted::Overloaded)?;
        let queue = settler.try_reserve_owned().map_err(|_| NotAdmitted::Overloaded)?;
        let id = Uuid::now_v7();
        let mut admittance = Admittance { hold: None, standing: Vec::new(), output_cap: None, queue };
        let limits = applied(&grant);
        let cap = cap(&grant);
        admittance.output_cap = cap.of_model_if_it_binds().filter(|_| grant.ask().generates());
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
        let issuer = (self.agent.clone(), self.pool.clone());
        Ticket::new(grant, id, self.clock.now(), issuer, request_id, admittance)
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
