//! How much the gateway has in hand, and what it turns away when that is too much.
//!
//! What is turned away is turned away early: before its body is read, and, where that can be, before anybody asks who
//! calls. The steps: at 80 % of memory connections end with their answer; at 90 % large bodies are refused; at 95 %
//! everything is. Whatever the memory, no more than so many requests are in progress, of which one tenant among several may
//! have half.

use attach_proto::id::TenantId;
use foldhash::{HashMap, HashMapExt as _};
use parking_lot::Mutex;
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

/// Shares of memory, in percent, as Envoy's overload manager has them.
const MEMORY_TIGHT: u8 = 80;
const MEMORY_SHORT: u8 = 90;
const MEMORY_OUT: u8 = 95;

/// A body that is still taken when memory is short: a conversation of some ten thousand tokens.
pub(crate) const SMALL_BODY_BYTES: u64 = 64 << 10;

/// Bytes of a page; what differs from it only makes the steps come sooner or later by its factor.
const PAGE_BYTES: usize = 4096;

/// Shared by all cores.
#[derive(Debug, Clone)]
pub(crate) struct Load(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    memory: Option<usize>,
    in_progress: AtomicUsize,
    /// One entry for each tenant that has called, so never more than the bundles had.
    tenants: Mutex<HashMap<TenantId, Arc<AtomicUsize>>>,
    /// The share of memory that is in use, in percent.
    memory_used: AtomicU8,
}

/// One core's view: a tenant's count is looked up without a lock once it is known here.
#[derive(Debug)]
pub(crate) struct CoreLoad {
    shared: Arc<Shared>,
    tenants: RefCell<HashMap<TenantId, Arc<AtomicUsize>>>,
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overload {
    Requests,
    Memory,
    /// Of one tenant's, beside which others want to be served.
    Tenant,
    /// Each engine is at its in-flight cap, so none could take it.
    Engines,
}

/// A request in hand, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct InHand {
    shared: Arc<Shared>,
    tenant: Option<Arc<AtomicUsize>>,
}

impl Load {
    /// `memory`: bytes that the process may use; `None` where that can't be told.
    pub(crate) fn new(most: usize, memory: Option<usize>) -> Self {
        Self(Arc::new(Shared {
            most,
            memory,
            in_progress: AtomicUsize::new(0),
            tenants: Mutex::new(HashMap::new()),
            memory_used: AtomicU8::new(0),
        }))
    }
}

impl CoreLoad {
    pub(crate) fn new(load: Load) -> Self {
        Self { shared: load.0, tenants: RefCell::default() }
    }

    /// Takes a request in hand, or says why not. Nothing of it has been looked at.
    pub(crate) fn take(&self) -> Result<InHand, Overload> {
        if self.memory_used() >= MEMORY_OUT {
            return Err(Overload::Memory);
        }
        let in_hand = InHand { shared: Arc::clone(&self.shared), tenant: None };
        // Counted before it is judged, so that it is given back in one way.
        if self.shared.in_progress.fetch_add(1, Ordering::Relaxed) >= self.shared.most {
            return Err(Overload::Requests);
        }
        Ok(in_hand)
    }

    /// Whose it is. `is_alone`: there is no other tenant whose share could be taken.
    pub(crate) fn belongs_to(
        &self,
        in_hand: &mut InHand,
        tenant: &TenantId,
        is_alone: bool,
    ) -> Result<(), Overload> {
        let count = self.count_of(tenant);
        let before = count.fetch_add(1, Ordering::Relaxed);
        in_hand.tenant = Some(count);
        if !is_alone && before >= self.shared.most.div_ceil(2) { Err(Overload::Tenant) } else { Ok(()) }
    }

    /// Whether a body of this length may be read; `None` is a length that nobody knows.
    pub(crate) fn takes_body(&self, bytes: Option<u64>) -> bool {
        self.memory_used() < MEMORY_SHORT || bytes.is_some_and(|bytes| bytes <= SMALL_BODY_BYTES)
    }

    /// Whether a connection may stay for a next request.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.memory_used() < MEMORY_TIGHT
    }

    /// Looks how much memory is in use. Now and then: it is a file of the kernel's.
    pub(crate) fn look(&self) {
        let Some(memory) = self.shared.memory else { return };
        let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return };
        let resident = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
        let used = percent(resident.unwrap_or(0).saturating_mul(PAGE_BYTES), memory);
        self.shared.memory_used.store(used, Ordering::Relaxed);
    }

    fn memory_used(&self) -> u8 {
        self.shared.memory_used.load(Ordering::Relaxed)
    }

    fn count_of(&self, tenant: &TenantId) -> Arc<AtomicUsize> {
        if let Some(count) = self.tenants.borrow().get(tenant) {
            return Arc::clone(count);
        }
        let count = Arc::clone(self.shared.tenants.lock().entry(tenant.clone()).or_default());
        self.tenants.borrow_mut().insert(tenant.clone(), Arc::clone(&count));
        count
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.shared.in_progress.fetch_sub(1, Ordering::Relaxed);
        if let Some(tenant) = &self.tenant {
            tenant.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn percent(part: usize, whole: usize) -> u8 {
    u8::try_from(part.saturating_mul(100) / whole.max(1)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(most: usize) -> CoreLoad {
        CoreLoad::new(Load::new(most, None))
    }

    #[test]
    fn no_more_than_so_many_are_in_hand_and_each_gives_its_place_back() {
        let core = core(2);
        let held = [core.take(), core.take()].map(Result::unwrap);
        assert_eq!(core.take().unwrap_err(), Overload::Requests);
        drop(held);
        assert_eq!(core.shared.in_progress.load(Ordering::Relaxed), 0);
        core.take().unwrap();
    }

    #[test]
    fn one_tenant_has_half_where_there_are_others_and_all_where_there_are_none() {
        let (core, acme, other) = (core(4), "acme".parse().unwrap(), "other".parse().unwrap());
        let take = |tenant, is_alone| {
            let mut in_hand = core.take()?;
            core.belongs_to(&mut in_hand, tenant, is_alone).map(|()| in_hand)
        };
        let held = [take(&acme, false), take(&acme, false)].map(Result::unwrap);
        assert_eq!(take(&acme, false).unwrap_err(), Overload::Tenant);
        drop(take(&other, false).unwrap());
        drop((take(&acme, true).unwrap(), held));
        assert_eq!(core.count_of(&acme).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn less_is_taken_the_less_memory_there_is() {
        let core = core(9);
        for (used, keeps, takes_large, takes_any) in [
            (79, true, true, true),
            (80, false, true, true),
            (90, false, false, true),
            (95, false, false, false),
        ] {
            core.shared.memory_used.store(used, Ordering::Relaxed);
            assert_eq!(core.keeps_connections(), keeps, "{used}");
            assert_eq!(core.takes_body(Some(SMALL_BODY_BYTES + 1)), takes_large, "{used}");
            assert_eq!(core.takes_body(None), takes_large, "{used}");
            assert_eq!(core.take().is_ok(), takes_any, "{used}");
        }
        assert_eq!((percent(1, 3), percent(7, 1), percent(1, 0)), (33, 255, 100));
    }
}
