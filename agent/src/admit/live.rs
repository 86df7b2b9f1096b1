//! The reservations that this core's requests hold now, so that they can be renewed together.

use super::{Hold, QuotaStore, RENEWAL_INTERVAL, Reservation};
use foldhash::HashMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};
use uuid::Uuid;

type Held = HashMap<Uuid, (Rc<QuotaStore>, Reservation)>;

#[derive(Debug)]
pub(super) struct Live {
    held: Rc<RefCell<Held>>,
    renewed_at: Cell<Instant>,
}

/// Takes its reservation off the list when it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    held: Rc<RefCell<Held>>,
    id: Uuid,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { held: Rc::default(), renewed_at: Cell::new(Instant::now()) }
    }

    pub(super) fn enter(&self, store: Rc<QuotaStore>, reservation: Reservation) -> Hold {
        let id = reservation.id();
        self.held.borrow_mut().insert(id, (Rc::clone(&store), reservation.clone()));
        Hold { store, reservation, entry: Entry { held: Rc::clone(&self.held), id } }
    }

    /// Renews all, when it is time.
    pub(super) async fn renew_if_due(&self) {
        if self.renewed_at.get().elapsed() < RENEWAL_INTERVAL {
            return;
        }
        self.renewed_at.set(Instant::now());
        let mut by_store: Vec<(Rc<QuotaStore>, Vec<Reservation>)> = Vec::new();
        for (store, reservation) in self.held.borrow().values() {
            match by_store.iter_mut().find(|(known, _)| Rc::ptr_eq(known, store)) {
                Some((_, reservations)) => reservations.push(reservation.clone()),
                None => by_store.push((Rc::clone(store), vec![reservation.clone()])),
            }
        }
        // Those in memory first: what a Redis takes its time for may have been settled meanwhile.
        by_store.sort_by_key(|(store, _)| matches!(**store, QuotaStore::Redis(_)));
        for (store, reservations) in by_store {
            store.renew(&reservations).await;
        }
    }
}

impl Entry {
    pub(super) fn replace(&self, reservation: &Reservation) {
        if let Some((_, held)) = self.held.borrow_mut().get_mut(&self.id) {
            *held = reservation.clone();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.held.borrow_mut().remove(&self.id);
    }
}
