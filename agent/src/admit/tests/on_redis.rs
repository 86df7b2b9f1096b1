//! A Redis that stops, hangs or forgets: what callers wait, and how soon it is used again.

use super::*;
use std::time::Instant;

const BUDGET: Duration = Duration::from_millis(50);

/// What a caller may wait on a busy machine.
const PATIENCE: Duration = Duration::from_millis(250);

/// On the server's own time.
fn stage(budget: Duration) -> Option<Stage> {
    let server = Server::start()?;
    let connect = || QuotaStore::Redis(RedisStore::new(&server.url(), budget, StoreClock::Own).unwrap());
    Some(Stage { store: connect(), other: connect(), clock: Arc::default(), server: Some(server) })
}

/// So long that no bucket ends within a test, or nearly never.
fn long(measure: Measure) -> Applied {
    Applied { window: 600 * MINUTE, ..limit(measure, 1_000_000) }
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// Breaks the server, has callers come for two seconds, mends it, and expects that they are served within a second
/// and that what was undone meanwhile is done.
async fn outage(
    name: &str,
    mut stage: Stage,
    breaks: fn(&mut Server),
    mends: fn(&mut Server),
    forgets: bool,
) {
    let limits = vec![long(Measure::Requests), long(Measure::TotalTokens)];
    eventually("served before the outage", async || stage.store.admit(ask(limits.clone())).await.is_ok())
        .await;
    let held = admitted(stage.store.admit(ask(limits.clone())).await.unwrap()).reservation;
    let requests_before = stage.state(&limits[0]).await.0;
    let reserved_before = stage.state(&limits[1]).await.1;
    breaks(stage.server.as_mut().unwrap());

    let start = Instant::now();
    let (mut calls, mut longest, mut waited) = (0, Duration::ZERO, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(2) {
        let call = Instant::now();
        assert!(stage.store.admit(ask(limits.clone())).await.is_err(), "admitted without a store");
        longest = longest.max(call.elapsed());
        waited += call.elapsed();
        calls += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let call = Instant::now();
    stage.store.settle(vec![settlement(&held, 10, 32)]).await;
    assert!(call.elapsed() <= PATIENCE, "a settlement waited {:?}", call.elapsed());
    assert!(longest <= PATIENCE, "a caller waited {longest:?}");

    mends(stage.server.as_mut().unwrap());
    let last = ask(limits.clone());
    let recovery = eventually("served again", async || stage.store.admit(last.clone()).await.is_ok()).await;
    eprintln!(
        "{name}: {calls} calls waited {waited:?} in all, {longest:?} at most; served again after {recovery:?}"
    );
    assert!(recovery <= Duration::from_secs(1), "served again only after {recovery:?}");

    // The settlement arrived, and of all that was asked in vain nothing is left.
    let (requests, reserved) = if forgets { (1, 110) } else { (requests_before + 1, reserved_before) };
    eventually("settled", async || stage.state(&limits[1]).await == (42, reserved)).await;
    eventually("released", async || stage.state(&limits[0]).await == (requests, 0)).await;
}

#[test]
fn callers_of_a_redis_that_was_killed_wait_no_longer_than_the_budget() {
    if let Some(stage) = stage(BUDGET) {
        stage.run(|stage| outage("killed", stage, Server::kill, Server::start_again, true));
    }
}

#[test]
fn callers_of_a_redis_that_hangs_wait_no_longer_than_the_budget() {
    if let Some(stage) = stage(BUDGET) {
        stage.run(|stage| {
            outage("hung", stage, |server| server.signal("-STOP"), |server| server.signal("-CONT"), false)
        });
    }
}

#[test]
fn a_redis_that_forgot_its_scripts_or_was_restarted_empty_serves_the_next_caller() {
    let Some(stage) = stage(PATIENT) else { return };
    stage.run(async |mut stage| {
        let tokens = long(Measure::TotalTokens);
        let mut held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap()).reservation;
        stage.server.as_ref().unwrap().command(&[b"SCRIPT", b"FLUSH"]).unwrap();
        assert!(stage.store.extend(&mut held, 100).await.unwrap());
        let server = stage.server.as_mut().unwrap();
        server.kill();
        server.start_again();
        // The first may find that its connection broke.
        let _ = stage.store.admit(ask(Vec::new())).await;
        let recovery =
            eventually("extended", async || stage.store.extend(&mut held, 100).await.is_ok()).await;
        eprintln!("restarted empty: served again after {recovery:?}");
        assert!(recovery <= Duration::from_secs(1));
        assert_eq!(stage.state(&tokens).await, (0, 310), "the stream's whole reservation is back");
        stage.store.settle(vec![settlement(&held, 10, 300)]).await;
        assert_eq!(stage.state(&tokens).await, (310, 0));
    });
}

#[test]
fn a_caller_who_hangs_up_during_admission_leaves_nothing() {
    let Some(stage) = stage(PATIENT) else { return };
    stage.run(async |stage| {
        let limits = vec![long(Measure::Requests), long(Measure::TotalTokens)];
        eventually("served", async || stage.store.admit(ask(vec![limits[1].clone()])).await.is_ok()).await;
        let server = stage.server.as_ref().unwrap();
        server.signal("-STOP");
        let admission = stage.store.admit(ask(limits.clone()));
        assert!(tokio::time::timeout(Duration::from_millis(10), admission).await.is_err());
        server.signal("-CONT");
        eventually("released", async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stage.state(&limits[0]).await == (0, 0) && stage.state(&limits[1]).await == (0, 110)
        })
        .await;
    });
}

#[test]
fn one_tenants_broken_key_does_not_keep_another_tenant_out() {
    let Some(stage) = stage(PATIENT) else { return };
    stage.run(async |stage| {
        stage.server.as_ref().unwrap().command(&[b"SET", b"attach:{acme}:h", b"no hash"]).unwrap();
        let limits = vec![long(Measure::Requests)];
        for _ in 0..10 {
            assert_eq!(stage.store.admit(ask(limits.clone())).await.unwrap_err(), StoreFault::Misbehaved);
        }
        admitted(stage.store.admit(Ask { tenant: "globex".parse().unwrap(), ..ask(limits) }).await.unwrap());
    });
}

#[test]
fn a_redis_that_became_a_replica_is_left_alone_and_used_again_when_it_is_promoted() {
    let Some(stage) = stage(PATIENT) else { return };
    stage.run(async |stage| {
        let server = stage.server.as_ref().unwrap();
        let limits = vec![long(Measure::Requests)];
        admitted(stage.store.admit(ask(limits.clone())).await.unwrap());
        server.command(&[b"REPLICAOF", b"127.0.0.1", b"1"]).unwrap();
        let before = connections(server);
        for _ in 0..100 {
            assert!(stage.store.admit(ask(limits.clone())).await.is_err());
        }
        assert!(connections(server) - before < 20, "a connection for each call");
        server.command(&[b"REPLICAOF", b"NO", b"ONE"]).unwrap();
        let last = ask(limits);
        let recovery =
            eventually("served again", async || stage.store.admit(last.clone()).await.is_ok()).await;
        eprintln!("read-only: served again after {recovery:?}");
        assert!(recovery <= Duration::from_secs(1));
    });
}

/// Since the server started.
fn connections(server: &Server) -> u64 {
    let stats = server.command(&[b"INFO", b"stats"]).unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn what_a_reservation_needs_to_be_given_back_outlives_the_counters_it_is_in() {
    let Some(stage) = stage(PATIENT) else { return };
    stage.run(async |stage| {
        let server = stage.server.as_ref().unwrap();
        let expiry = |key: &[u8]| -> i64 {
            let answer = server.command(&[b"PTTL", key]).unwrap();
            answer.trim_start_matches(':').trim_end().parse().unwrap()
        };
        let counter = b"attach:{acme}:l=TotalTokens";
        let short = Applied { window: Duration::from_secs(1), ..long(Measure::TotalTokens) };
        let held = admitted(stage.store.admit(ask(vec![short])).await.unwrap()).reservation;
        server.command(&[b"PEXPIRE", counter, b"2000"]).unwrap();
        stage.store.renew(&[held]).await;
        assert!(expiry(counter) > 60_000, "the counter would lose what is reserved");
        admitted(stage.store.admit(ask(vec![long(Measure::TotalTokens)])).await.unwrap());
        for key in [&b"attach:{acme}:r"[..], b"attach:{acme}:h"] {
            assert!(expiry(key) >= expiry(counter), "{}", String::from_utf8_lossy(key));
        }
    });
}

#[test]
fn an_address_of_something_else_is_refused_without_repeating_its_password() {
    for address in ["http://localhost", "rediss://:secret@", "redis://user:secret@localhost:99999/x"] {
        let Ok(url) = address.parse() else { continue };
        if let Err(error) = RedisStore::new(&url, BUDGET, StoreClock::Own) {
            assert!(!error.to_string().contains("secret"));
        } else {
            panic!("{address} is no address of a Redis");
        }
    }
    assert!(
        RedisStore::new(&"rediss://:secret@localhost:6380/1".parse().unwrap(), BUDGET, StoreClock::Own)
            .is_ok()
    );
}
