//! Gateways that belong to a control plane: real processes of both, on a real Postgres.

use attach_tests::{
    Answer, ControlPlane, Engine, Gateway, engine::samples, eventually, free_port, gateway::Setup,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Of the tenant `acme`, in the pool `main`.
const KEY: &str = "acme-key-0123456789";

const PATIENCE: Duration = Duration::from_secs(20);

/// What the operator wants of a change at a gateway.
const SOON: Duration = Duration::from_secs(5);

/// A change of configuration, as the control plane's operations make one.
fn change(plane: &ControlPlane, statements: &str) {
    let text = format!(
        "update head set n = n + 1 where id = 1; {statements};
         update pool set revision = (select n from head where id = 1);
         select pg_notify('attach_config', '')"
    );
    plane.database.as_superuser(&text).expect("a change of configuration");
}

/// A control plane with one tenant, one key and one limit; `None` without a Postgres.
async fn control_plane() -> Option<ControlPlane> {
    let plane = ControlPlane::start().await?;
    let n = "(select n from head where id = 1)";
    change(
        &plane,
        &format!(
            "insert into quota_store (id, kind, version) values ('memory', 'local', {n});
             insert into tenant (tenant_id, name, quota_store_id, created_at, version)
                 values ('acme', 'Acme', 'memory', now(), {n});
             insert into pool (id, name, revision, created_at) values ('main', 'Main', {n}, now());
             insert into pool_membership (tenant_id, pool_id, since) values ('acme', 'main', now());
             insert into api_key (tenant_id, id, name, sha256, owner, created_at, version)
                 values ('acme', 'ci', 'CI', sha256('{KEY}'), 'ada', now(), {n});
             insert into usage_limit (tenant_id, id, counter, measure, window_ms, amount, version)
                 values ('acme', 'requests', 'shared', 'requests', 3600000, 1000000, {n})"
        ),
    );
    Some(plane)
}

struct World {
    plane: ControlPlane,
    gateway: Gateway,
    setup: Setup,
    engine: Engine,
}

/// With a gateway that has joined and serves.
async fn world() -> Option<World> {
    let plane = control_plane().await?;
    let engine = Engine::start(samples::openai_chat(7, 5)).await;
    let setup = Setup::new().with_engine(&engine).with_join(&plane.join_line("main"));
    let gateway = setup.start().await;
    until_ready(&gateway).await;
    Some(World { plane, gateway, setup, engine })
}

async fn until_ready(gateway: &Gateway) {
    eventually("the gateway is ready", PATIENCE, async || {
        let answer = gateway.admin().send(http::Method::GET, "/readyz", "").await.whole().await;
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn readiness(gateway: &Gateway) -> Value {
    gateway.admin().get("/readyz").await.json()
}

async fn chat(gateway: &Gateway) -> Answer {
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
    gateway.client().with_bearer(KEY).post("/v1/chat/completions", &body).await
}

async fn serve(gateway: &Gateway, requests: usize) {
    for _ in 0..requests {
        let answer = chat(gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Until the control plane has exactly these many events, each once; then one more look.
async fn until_billed(plane: &ControlPlane, events: usize) {
    let count = || plane.database.as_superuser("select count(*), count(distinct event_id) from usage_event");
    let expected = format!("{events}|{events}");
    eventually(&format!("{events} events are billed"), Duration::from_secs(60), async || {
        (count().expect("the superuser may") == expected).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(count().expect("the superuser may"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_joins_serves_what_the_control_plane_says_and_reports_its_usage() {
    let Some(World { plane, gateway, engine: _engine, .. }) = world().await else { return };
    serve(&gateway, 3).await;
    let asked = Instant::now();
    until_billed(&plane, 3).await;
    println!("usage was billed within {:?}", asked.elapsed());
    let row = plane
        .database
        .as_superuser(
            "select distinct e.tenant_id, e.pool_id, e.subject, e.key_id, a.id = e.agent_id
             from usage_event e, agent a",
        )
        .expect("the superuser may");
    assert_eq!(row, "acme|main|ada|ci|t");

    let state = readiness(&gateway).await;
    let about = &state["control_plane"];
    assert_eq!((&state["managed"], &about["connected"]), (&json!(true), &json!(true)), "{state}");
    assert_eq!(about["unacknowledged_events"], 0, "{state}");
    assert!(about["clock_offset_seconds"].as_f64().expect("measured").abs() < 1.0, "{state}");
    assert!(about["certificate_days_left"].as_f64().expect("known") > 0.9, "{state}");
    let metrics = gateway.admin().get("/metrics").await.text();
    assert!(metrics.contains("attach_control_plane_connected 1.0"), "{metrics}");
    assert!(metrics.contains("attach_managed 1.0"), "{metrics}");

    let health = "select count(*) from agent_state where health::text like '%engine%'";
    eventually("the engine's health is told", PATIENCE, async || {
        (plane.database.as_superuser(health).expect("the superuser may") == "1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_acts_at_the_gateway_at_once() {
    let Some(World { plane, gateway, engine: _engine, .. }) = world().await else { return };
    serve(&gateway, 2).await;
    let began = Instant::now();
    let n = "(select n from head where id = 1)";
    change(&plane, &format!("update usage_limit set amount = 2, version = {n}"));
    eventually("the lowered limit refuses", SOON, async || {
        (chat(&gateway).await.status == 429).then_some(())
    })
    .await;
    println!("a lowered limit acted after {:?}", began.elapsed());
    let began = Instant::now();
    change(&plane, &format!("update api_key set revoked_at = now(), version = {n}"));
    eventually("the revoked key is refused", SOON, async || {
        (chat(&gateway).await.status == 401).then_some(())
    })
    .await;
    println!("a revoked key was out after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_control_plane_a_gateway_starts_serves_and_loses_no_usage() {
    let Some(World { mut plane, mut gateway, setup, engine: _engine }) = world().await else { return };
    serve(&gateway, 4).await;
    until_billed(&plane, 4).await;
    plane.kill();
    serve(&gateway, 5).await;
    // Killed with events that nobody has; it starts from its disk with the line that it joined with, and so without.
    let gateway = gateway.restart_after_kill().await;
    serve(&gateway, 6).await;
    assert!(gateway.log().contains("belongs already to") && gateway.log().contains("the token was not used"));
    drop(gateway);
    let gateway = setup.without_join().start().await;
    serve(&gateway, 7).await;
    let state = readiness(&gateway).await;
    assert_eq!((&state["ready"], &state["control_plane"]["connected"]), (&json!(true), &json!(false)));
    plane.run().await;
    until_billed(&plane, 22).await;
    assert_eq!(plane.database.as_superuser("select count(*) from alarm").expect("the superuser may"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_served_last_is_sent_before_a_gateway_ends() {
    let Some(World { plane, mut gateway, engine: _engine, .. }) = world().await else { return };
    serve(&gateway, 20).await;
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_end(PATIENCE).await.success());
    let count = plane.database.as_superuser("select count(*) from usage_event");
    assert_eq!(count.expect("the superuser may"), "20");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_does_not_validate_is_refused_with_its_path_and_the_last_good_one_serves() {
    let Some(World { plane, gateway, engine: _engine, .. }) = world().await else { return };
    let n = "(select n from head where id = 1)";
    let good = readiness(&gateway).await["bundle_revision"].clone();
    change(
        &plane,
        &format!(
            // No operation leaves a model without a target.
            "insert into model (pool_id, name, version) values ('main', 'tiny', {n})"
        ),
    );
    let refusal = eventually("the control plane knows why", SOON, async || {
        let said = plane.database.as_superuser("select refusal from agent_state").expect("the superuser may");
        (!said.is_empty()).then_some(said)
    })
    .await;
    assert_eq!(refusal, "models[tiny].targets: needs at least one upstream");
    serve(&gateway, 1).await;
    let state = readiness(&gateway).await;
    assert_eq!((&state["ready"], &state["bundle_revision"]), (&json!(true), &good), "{state}");
    assert_eq!(state["control_plane"]["refused_revisions"], 1, "{state}");

    change(
        &plane,
        &format!(
            "insert into model_target (pool_id, model_name, position, upstream, engine_model)
                 values ('main', 'tiny', 0, 'engine', 'tiny');
             update model set version = {n}"
        ),
    );
    eventually("the mended revision is served", SOON, async || {
        (readiness(&gateway).await["bundle_revision"].as_u64() > good.as_u64()).then_some(())
    })
    .await;
    serve(&gateway, 1).await;
    assert_eq!(readiness(&gateway).await["control_plane"]["refusal"], Value::Null);
}

/// A pool's hosts have different engines.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_another_host_s_engine_is_not_served_here_and_holds_nothing_back() {
    let Some(World { plane, gateway, engine: _engine, .. }) = world().await else { return };
    let put = async |name: &str, upstream: &str| {
        let targets = json!({"targets": [{"upstream": upstream, "engine_model": "tiny"}]});
        plane.call(http::Method::PUT, &format!("/pools/main/models/{name}"), targets).await;
    };
    put("elsewhere", "gpu-b").await;
    let client = gateway.client().with_bearer(KEY);
    let ask = async |model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        client.post("/v1/chat/completions", &body).await
    };
    eventually("only what is declared is served", SOON, async || {
        (ask("tiny").await.status == 404).then_some(())
    })
    .await;
    let answer = ask("elsewhere").await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(answer.text().contains("No engine here has this model"), "{}", answer.text());
    put("here", "engine").await;
    eventually("a later revision acts", SOON, async || (ask("here").await.status == 200).then_some(())).await;
    let listed = client.send(http::Method::GET, "/v1/models", "").await.whole().await;
    assert!(listed.text().contains("here") && !listed.text().contains("elsewhere"), "{}", listed.text());
    plane.database.as_superuser("update api_key set revoked_at = now()").expect("the superuser may");
    put("last", "gpu-b").await;
    eventually("a revoked key stops", SOON, async || (ask("here").await.status == 401).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_gateway_serves_nobody_any_more_and_a_restart_does_not_help() {
    let Some(World { plane, mut gateway, setup, engine: _engine }) = world().await else { return };
    serve(&gateway, 1).await;
    let began = Instant::now();
    change(&plane, "update agent set revoked_at = now()");
    eventually("nobody is served", SOON, async || (chat(&gateway).await.status == 401).then_some(())).await;
    println!("a revoked gateway was out after {:?}", began.elapsed());
    let state = readiness(&gateway).await;
    assert_eq!((&state["ready"], &state["control_plane"]["revoked"]), (&json!(false), &json!(true)));
    assert!(gateway.log().contains("REVOKED"));
    eventually("the bundle is gone", SOON, async || {
        (!setup.state().join("enrolment/bundle").exists()).then_some(())
    })
    .await;
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_end(PATIENCE).await.success());
    let gateway = setup.start().await;
    eventually("it is told again", PATIENCE, async || {
        (readiness(&gateway).await["control_plane"]["revoked"] == true).then_some(())
    })
    .await;
    assert!(gateway.client().try_send(http::Method::GET, "/health", "").await.is_err(), "it does not listen");
}

/// The database was put back to before the gateway joined. Nobody revoked it, so it serves on.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_its_control_plane_has_forgotten_serves_what_it_has_and_says_so() {
    let Some(World { mut plane, gateway, engine: _engine, .. }) = world().await else { return };
    plane.kill();
    let forget = "set session_replication_role = replica; delete from agent_state; delete from agent";
    plane.database.as_superuser(forget).expect("the superuser may");
    plane.run().await;
    eventually("it is told", PATIENCE, async || {
        gateway.log().contains("does not know the agent").then_some(())
    })
    .await;
    serve(&gateway, 3).await;
    let state = readiness(&gateway).await;
    assert_eq!(
        (&state["ready"], &state["control_plane"]["revoked"]),
        (&json!(true), &json!(false)),
        "{state}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_can_t_be_says_why_and_leaves_nothing_behind() {
    let (Some(plane), Some(other)) = (control_plane().await, control_plane().await) else { return };
    let refused = |line: &str, expected: &str| {
        let setup = Setup::new().with_join(line);
        let (code, said) = setup.run();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(&line[20..60]), "the secret is shown: {said}");
        assert!(!setup.state().join("enrolment").exists());
    };
    let line = plane.join_line("main");
    let (token, address) = line.split_once('@').expect("a token and an address");
    refused(&format!("{}@{address}", &token[..token.len() - 1]), "not whole");
    refused(token, "there is no address");
    let elsewhere = format!("https://127.0.0.1:{}", other.agents_port);
    refused(&format!("{token}@{elsewhere}"), "this token is for another control plane");
    let nowhere = format!("https://127.0.0.1:{}", free_port());
    refused(&format!("{token}@{nowhere}"), "cannot connect");
    plane
        .database
        .as_superuser(
            "update join_token set created_at = now() - interval '2 h', expires_at = now() - interval '1 h'",
        )
        .expect("the superuser may");
    refused(&line, "expired");

    let engine = Engine::start(samples::openai_chat(7, 5)).await;
    let used = plane.join_line("main");
    let setup = Setup::new().with_engine(&engine).with_join(&used);
    let gateway = setup.start().await;
    until_ready(&gateway).await;
    refused(&used, "used");
    drop(gateway);
    // As whom it joined first it can't go to another.
    let (code, said) = setup.clone().with_join(&other.join_line("main")).run();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("has joined another control plane") && said.contains("enrolment"), "{said}");

    let (code, said) = Setup::new().with_join(&used).with("OIDC_ISSUER", "https://login.example").run();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("OIDC_ISSUER") && said.contains("has joined a control plane"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_somebody_changed_on_the_disk_is_not_served() {
    let Some(World { mut plane, mut gateway, setup, engine: _engine }) = world().await else { return };
    plane.kill();
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_end(PATIENCE).await.success());
    let file = setup.state().join("enrolment/bundle");
    let mut bytes = std::fs::read(&file).expect("the bundle is kept");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("our own folder");
    let gateway = setup.start().await;
    eventually("it says so", PATIENCE, async || {
        gateway.log().contains("the bundle is damaged; it is not served").then_some(())
    })
    .await;
    let state = readiness(&gateway).await;
    assert_eq!(state["ready"], false, "{state}");
    assert!(gateway.client().try_send(http::Method::GET, "/health", "").await.is_err(), "it does not listen");
    plane.run().await;
    eventually("it is given a good one", Duration::from_secs(60), async || {
        (readiness(&gateway).await["ready"] == true).then_some(())
    })
    .await;
    serve(&gateway, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_a_gateway_s_usage_is_billed_whole_and_once() {
    const KILLS: usize = 50;
    let Some(World { plane, mut gateway, engine: _engine, .. }) = world().await else { return };
    let completed = Arc::new(AtomicUsize::new(0));
    for _ in 0..KILLS {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (client, completed) = (gateway.client().with_bearer(KEY), Arc::clone(&completed));
                tokio::spawn(async move {
                    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
                    let body = body.to_string();
                    while let Ok(stream) =
                        client.try_send(http::Method::POST, "/v1/chat/completions", body.clone()).await
                    {
                        let answer = stream.whole().await;
                        if answer.status == 200 && answer.broken.is_none() {
                            completed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        // Within two of the quarters of a second after which what was served is sent. The standard library seeds each of
        // these hashers at random.
        let moment = RandomState::new().build_hasher().finish() % 500_000;
        tokio::time::sleep(Duration::from_micros(moment)).await;
        gateway = gateway.restart_after_kill().await;
        for caller in callers {
            caller.abort();
        }
    }
    let ids = |events: Vec<Value>| {
        let id = |event: &Value| event["event_id"].as_str().expect("an id").to_owned();
        events.iter().map(id).collect::<BTreeSet<_>>()
    };
    let on_disk = ids(gateway.events());
    assert!(on_disk.len() >= completed.load(Ordering::Relaxed), "a completed answer has its event");
    until_billed(&plane, on_disk.len()).await;
    let billed = plane.database.as_superuser("select event_id from usage_event").expect("the superuser may");
    assert_eq!(billed.lines().map(str::to_owned).collect::<BTreeSet<_>>(), on_disk);
    let sums = "select sum(requests) from usage_hour";
    let sums = plane.database.as_superuser(sums).expect("the superuser may");
    assert_eq!(sums, on_disk.len().to_string(), "the sums count each once");
    let others = "select count(*) from usage_event where outcome = 1
        and (measures->0->>'quantity' <> '7' or measures->1->>'quantity' <> '5')";
    let others = plane.database.as_superuser(others).expect("the superuser may");
    assert_eq!(others, "0", "what was answered whole counts as the engine counted");
    assert_eq!(plane.database.as_superuser("select count(*) from alarm").expect("the superuser may"), "0");
    println!("{} events after {KILLS} kills, each billed once", on_disk.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_the_operator_opens_and_closes_are_open_and_closed_within_seconds() {
    let Some(World { plane, gateway, engine, .. }) = world().await else { return };
    let client = gateway.client().with_bearer(KEY);
    let until = async |method: http::Method, path: &str, status: u16| {
        eventually(&format!("{method} {path} is answered with {status}"), SOON, async || {
            let answer = client.send(method.clone(), path, r#"{"model":"tiny"}"#).await.whole().await;
            (answer.status == status).then_some(())
        })
        .await;
    };
    until(http::Method::POST, "/v1/audio/speech", 404).await;
    until(http::Method::POST, "/api/pull", 403).await;
    let route = json!({
        "path": "/v1/audio/*", "methods": ["POST"], "permission": "inference", "metering": "requests",
        "upstream": "engine",
    });
    plane.call(http::Method::PUT, "/pools/main/routes", json!({"allow": [route]})).await;
    until(http::Method::POST, "/v1/audio/speech", 200).await;
    assert_eq!(engine.seen().pop().expect("the engine has it").target, "/v1/audio/speech");
    until(http::Method::POST, "/pause", 404).await;

    change(
        &plane,
        "update api_key set scopes = '{inference,admin}', version = (select n from head where id = 1)",
    );
    let rules = json!({"principals": ["ada"], "permissions": ["admin", "inference"]});
    plane.call(http::Method::PUT, "/tenants/acme/access-rules/ada", rules).await;
    until(http::Method::POST, "/api/pull", 200).await;

    plane.call(http::Method::PUT, "/pools/main/routes", json!({})).await;
    until(http::Method::POST, "/v1/audio/speech", 404).await;
    eventually("what went through is billed", PATIENCE, async || {
        let billed = plane.database.as_superuser("select distinct operation from usage_event");
        (billed.expect("the superuser may") == "/v1/audio/*").then_some(())
    })
    .await;
}
