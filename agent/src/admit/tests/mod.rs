//! One suite for both stores, on a real Redis, and random histories of both; then what only one of them can do.

mod histories;
mod on_memory;
mod on_redis;
mod server;
mod suite;

use super::*;
use crate::admit::store::{Applied, OutputAsk, RESERVATION_LIFE};
use attach_proto::{bundle::Measure, id::TenantId};
use server::Server;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::LocalSet;
use uuid::Uuid;

/// A whole number of minutes after the epoch, so that buckets of a minute start here.
const START: u64 = 1_800_000_000_000;

const MINUTE: Duration = Duration::from_secs(60);

/// Long enough that a busy machine does not fail tests that are not about time.
const PATIENT: Duration = Duration::from_secs(10);

/// Two handles on one store, as two cores or two agents have them, with a clock that the test moves.
struct Stage {
    store: QuotaStore,
    other: QuotaStore,
    clock: Arc<AtomicU64>,
    /// Read the keys of the Redis, if it is one.
    server: Option<Server>,
}

impl Stage {
    fn local() -> Self {
        let clock = Arc::new(AtomicU64::new(START));
        let store = LocalStore::new(StoreClock::Manual(Arc::clone(&clock)));
        Self {
            store: QuotaStore::Local(Arc::clone(&store)),
            other: QuotaStore::Local(store),
            clock,
            server: None,
        }
    }

    fn redis() -> Option<Self> {
        let server = Server::start()?;
        let clock = Arc::new(AtomicU64::new(START));
        let connect = || {
            let clock = StoreClock::Manual(Arc::clone(&clock));
            let store = RedisStore::new(&server.url(), PATIENT, clock).unwrap();
            QuotaStore::Redis(store)
        };
        Some(Self { store: connect(), other: connect(), clock, server: Some(server) })
    }

    /// Runs the upkeep of both handles beside the test.
    fn run<F: Future<Output = ()>>(self, test: impl FnOnce(Self) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            for store in [self.store.clone(), self.other.clone()] {
                tokio::task::spawn_local(async move { store.run().await });
            }
            test(self).await;
        });
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Redis must not hear of counters whose real time has passed, so this asks without reserving anything.
    async fn state(&self, limit: &Applied) -> (u64, u64) {
        let impossible = Applied { amount: 0, ..limit.clone() };
        let ask = Ask { output: exactly(1), input: 1, ..ask(vec![impossible]) };
        match self.store.admit(ask).await.unwrap() {
            Admission::Refused(reached) => (reached.used, reached.reserved),
            Admission::Admitted(_) => panic!("a limit of nothing admitted"),
        }
    }
}

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

fn limit(measure: Measure, amount: u64) -> Applied {
    let key = format!("{measure:?}");
    Applied { limit: key.parse().unwrap(), counter_key: key, measure, window: MINUTE, amount }
}

fn ask(limits: Vec<Applied>) -> Ask {
    Ask { id: Uuid::now_v7(), tenant: tenant(), limits, input: 10, output: exactly(100) }
}

fn exactly(output: u64) -> OutputAsk {
    OutputAsk { at_least: output, at_most: output }
}

fn admitted(admission: Admission) -> Admitted {
    match admission {
        Admission::Admitted(admitted) => admitted,
        Admission::Refused(reached) => panic!("refused by {reached:?}"),
    }
}

fn refused(admission: Admission) -> Reached {
    match admission {
        Admission::Refused(reached) => reached,
        Admission::Admitted(admitted) => panic!("admitted as {admitted:?}"),
    }
}

fn settlement(reservation: &Reservation, input: u64, output: u64) -> Settlement {
    Settlement { reservation: reservation.clone(), actual: Consumed { input, output } }
}
