//! What only a store in memory has: a bound of its own.

use super::*;

fn clock() -> (StoreClock, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(START));
    (StoreClock::Manual(Arc::clone(&time)), time)
}

fn requests_of(caller: usize, tenant: &str) -> Ask {
    let limit = Applied { counter_key: format!("requests:{caller}"), ..limit(Measure::Requests, 1) };
    Ask { tenant: tenant.parse().unwrap(), ..ask(vec![limit]) }
}

#[test]
fn a_full_store_refuses_a_new_caller_rather_than_forget_an_old_one() {
    let (clock, _) = clock();
    let store = LocalStore::with_room_for(2, clock);
    admitted(store.admit(requests_of(1, "acme")).unwrap());
    admitted(store.admit(requests_of(2, "globex")).unwrap());
    assert_eq!(store.admit(requests_of(3, "acme")).unwrap_err(), StoreFault::Full);
    assert_eq!(refused(store.admit(requests_of(1, "acme")).unwrap()).used, 1);
}

#[test]
fn counters_of_tenants_that_fell_silent_are_forgotten_once_they_say_nothing() {
    let (clock, time) = clock();
    let store = LocalStore::with_room_for(100, clock);
    for caller in 0..100 {
        admitted(store.admit(requests_of(caller, ["acme", "globex"][caller % 2])).unwrap());
    }
    time.fetch_add(2 * 60_000 - 1, Ordering::Relaxed);
    store.sweep_all();
    assert_eq!(store.len(), 100);
    time.fetch_add(1, Ordering::Relaxed);
    store.sweep_all();
    assert_eq!(store.len(), 0);
    admitted(store.admit(requests_of(100, "acme")).unwrap());
}

#[test]
fn a_counter_with_a_live_reservation_is_kept_however_old() {
    let (clock, time) = clock();
    let store = LocalStore::new(clock);
    let tokens = Applied { window: Duration::from_secs(1), ..limit(Measure::TotalTokens, 200) };
    let held = admitted(store.admit(ask(vec![tokens.clone()])).unwrap()).reservation;
    for _ in 0..10 {
        time.fetch_add(20_000, Ordering::Relaxed);
        store.renew(&held);
        store.sweep_all();
    }
    assert_eq!(refused(store.admit(ask(vec![tokens])).unwrap()).reserved, 110);
}

#[test]
fn two_threads_never_admit_more_than_fits() {
    let (clock, _) = clock();
    let store = LocalStore::new(clock);
    let admitted: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let ask =
                        || ask(vec![limit(Measure::Requests, 1000), limit(Measure::TotalTokens, 10_000_000)]);
                    (0..500).filter(|_| matches!(store.admit(ask()), Ok(Admission::Admitted(_)))).count()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert_eq!(admitted, 1000);
}

#[test]
fn one_that_was_left_behind_by_thousands_lapses_all_the_same() {
    let (clock, time) = clock();
    let store = LocalStore::new(clock);
    let tokens = || vec![limit(Measure::TotalTokens, 300)];
    admitted(store.admit(ask(tokens())).unwrap());
    for _ in 0..3_000 {
        let other = admitted(store.admit(ask(tokens())).unwrap()).reservation;
        store.settle(&Settlement { reservation: other, actual: Consumed::default() });
    }
    let reserved = |store: &LocalStore| {
        let more_than_fits = Ask { input: 301, ..ask(tokens()) };
        refused(store.admit(more_than_fits).unwrap()).reserved
    };
    assert_eq!(reserved(&store), 110);
    time.fetch_add(60_000, Ordering::Relaxed);
    // Each look lets a few go.
    for _ in 0..3_000 {
        reserved(&store);
    }
    assert_eq!(reserved(&store), 0);
}
