//! Issuers whose keys the control plane fetches: gateways have no way to them, and serve their tokens all the same.

use attach_tests::{
    Answer, Client, ControlPlane, Engine, Gateway, Issuer, engine::samples, eventually, gateway::Setup,
    issuer::AUDIENCE,
};
use http::Method;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);

/// The control plane may dial the issuers of these tests; the gateways, which are given no such word, may not.
const WAY_OUT: [(&str, &str); 1] = [("ALLOW_ADDRESSES", "127.0.0.1")];

struct World {
    plane: ControlPlane,
    gateway: Gateway,
    issuer: Issuer,
    _engine: Engine,
}

/// A tenant in a pool; `None` without a Postgres.
async fn control_plane() -> Option<ControlPlane> {
    let plane = ControlPlane::start_with(&WAY_OUT).await?;
    let tenant = "insert into quota_store (id, kind, version) values ('memory', 'local', 0);
         insert into tenant (tenant_id, name, quota_store_id, created_at, version)
             values ('acme', 'Acme', 'memory', now(), 0);
         insert into pool (id, name, revision, created_at) values ('main', 'Main', 1, now());
         insert into pool_membership (tenant_id, pool_id, since) values ('acme', 'main', now());
         update head set n = 1 where id = 1";
    plane.database.as_superuser(tenant).expect("an empty database");
    Some(plane)
}

/// With a gateway that serves the issuer's tokens by keys that it did not fetch.
async fn world() -> Option<World> {
    let plane = control_plane().await?;
    let issuer = Issuer::start().await;
    set_provider(&plane, &issuer, "control_plane").await;
    let engine = Engine::start(samples::openai_chat(7, 5)).await;
    let gateway = Setup::new().with_engine(&engine).with_join(&plane.join_line("main")).start().await;
    let world = World { plane, gateway, issuer, _engine: engine };
    // Without a token: one that came too early would use up the question that there is in half a minute.
    eventually("the gateway has keys", PATIENCE, async || {
        (world.at_the_gateway().await["usable"] == true).then_some(())
    })
    .await;
    assert_eq!(world.chat(&world.issuer.token("ada")).await.status, 200);
    Some(world)
}

async fn set_provider(plane: &ControlPlane, issuer: &Issuer, key_source: &str) {
    let provider = json!({"issuer": issuer.url(), "audiences": [AUDIENCE], "key_source": key_source});
    plane.call(Method::PUT, "/tenants/acme/identity-providers/idp", provider).await;
}

async fn chat(client: Client, token: &str) -> Answer {
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
    client.with_bearer(token).post("/v1/chat/completions", &body).await
}

/// How it stands with the provider's keys, as the REST API tells.
async fn keys(plane: &ControlPlane) -> Value {
    let list = plane.call(Method::GET, "/tenants/acme/identity-providers", Value::Null).await;
    list["items"][0]["keys"].clone()
}

/// Has the issuer asked now, and not in some minutes.
fn refresh(plane: &ControlPlane) {
    let due = "update issuer_key_set set next_attempt_at = now()";
    plane.database.as_superuser(due).expect("the superuser may");
}

impl World {
    async fn chat(&self, token: &str) -> Answer {
        chat(self.gateway.client(), token).await
    }

    async fn until(&self, token: &str, status: u16) {
        eventually(&format!("the token is answered with {status}"), PATIENCE, async || {
            (self.chat(token).await.status == status).then_some(())
        })
        .await;
    }

    async fn at_the_gateway(&self) -> Value {
        let readiness = self.gateway.admin().send(Method::GET, "/readyz", "").await.whole().await;
        readiness.json()["issuers"][0].clone()
    }

    fn revision(&self) -> String {
        self.plane.database.as_superuser("select revision from pool").expect("the superuser may")
    }

    /// Until the control plane has asked once more, whatever it got.
    async fn refreshed(&self) {
        let ended = "select coalesce(extract(epoch from ended_at), 0) from issuer_key_set";
        let ended = || self.plane.database.as_superuser(ended).expect("the superuser may");
        let before = ended();
        refresh(&self.plane);
        eventually("the issuer was asked", PATIENCE, async || (ended() != before).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_way_to_the_issuer_serves_its_tokens_by_what_the_control_plane_sends() {
    let Some(mut world) = world().await else { return };
    let state = world.at_the_gateway().await;
    assert_eq!((&state["keys_from"], &state["usable"]), (&json!("control plane"), &json!(true)), "{state}");
    let metrics = world.gateway.admin().get("/metrics").await.text();
    let usable =
        format!("attach_issuer_usable{{issuer=\"{}\",source=\"control plane\"}} 1.0", world.issuer.url());
    assert!(metrics.contains(&usable), "{metrics}");
    let known = keys(&world.plane).await;
    assert_eq!((&known["count"], &known["stale"]), (&json!(1), &json!(false)), "{known}");
    assert_eq!(world.issuer.fetches(), 2, "metadata and keys, by the control plane alone");

    let revision = world.revision();
    world.refreshed().await;
    assert_eq!(world.revision(), revision, "what did not change makes no revision");

    world.plane.kill();
    assert_eq!(world.chat(&world.issuer.token("bea")).await.status, 200);
    let stranger = world.chat(&world.issuer.token_as("stranger", "eve")).await;
    assert_eq!(stranger.status, 503, "nobody can say whether there is such a key: {}", stranger.text());
    world.gateway = world.gateway.restart_after_kill().await;
    assert_eq!(world.chat(&world.issuer.token("cem")).await.status, 200, "by what is on its disk");

    // That it was not by a way of its own.
    world.plane.run().await;
    set_provider(&world.plane, &world.issuer, "gateway").await;
    world.until(&world.issuer.token("dov"), 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_is_noticed_by_no_caller_and_a_withdrawn_key_stops() {
    let Some(world) = world().await else { return };
    world.issuer.publish_as(&["old"]);
    world.refreshed().await;
    eventually("the gateway has them", PATIENCE, async || {
        let applied = world.gateway.admin().get("/readyz").await.json()["bundle_revision"].to_string();
        (applied == world.revision()).then_some(())
    })
    .await;
    let (is_rotated, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let served = Arc::new(AtomicUsize::new(0));
    let issuer = Arc::new(world.issuer);
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (client, issuer, served) = (world.gateway.client(), Arc::clone(&issuer), Arc::clone(&served));
            let (is_rotated, is_over) = (Arc::clone(&is_rotated), Arc::clone(&is_over));
            tokio::spawn(async move {
                for round in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let kid = if is_rotated.load(Ordering::SeqCst) && round % 2 == 0 { "new" } else { "old" };
                    let token = issuer.token_as(kid, &format!("caller-{caller}-{round}"));
                    let answer = chat(client.clone(), &token).await;
                    assert_eq!(answer.status, 200, "{kid}: {}", answer.text());
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let until_served = async |more: usize| {
        let goal = served.load(Ordering::SeqCst) + more;
        eventually("callers are served", PATIENCE, async || {
            (served.load(Ordering::SeqCst) >= goal
                || callers.iter().any(tokio::task::JoinHandle::is_finished))
            .then_some(())
        })
        .await;
    };
    until_served(20).await;
    let before = issuer.fetches();
    issuer.publish_as(&["old", "new"]);
    is_rotated.store(true, Ordering::SeqCst);
    until_served(100).await;
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.expect("no caller was refused");
    }
    assert_eq!(issuer.fetches() - before, 1, "its keys, once for all callers");

    let by_old = issuer.token_as("old", "ada");
    assert_eq!(chat(world.gateway.client(), &by_old).await.status, 200);
    issuer.publish_as(&["new"]);
    refresh(&world.plane);
    eventually("the withdrawn key's token is refused, which was verified before", PATIENCE, async || {
        (chat(world.gateway.client(), &by_old).await.status == 401).then_some(())
    })
    .await;
    assert_eq!(chat(world.gateway.client(), &issuer.token_as("new", "ada")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rotation_is_looked_up_soon_after_the_first_however_often_callers_come() {
    let Some(world) = world().await else { return };
    let issuer = &world.issuer;
    issuer.publish_as(&["old", "new"]);
    assert_eq!(world.chat(&issuer.token_as("new", "ada")).await.status, 200);
    issuer.publish_as(&["new", "newer"]);
    // Whoever comes too early must not put it off; the pause without a change is 30 s.
    eventually("the third key is good", Duration::from_secs(10), async || {
        let answer = world.chat(&issuer.token_as("newer", "ada")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_asks_the_issuer_once() {
    let Some(world) = world().await else { return };
    let before = world.issuer.fetches();
    for round in 0..50 {
        let answer = world.chat(&world.issuer.token_as(&format!("random-{round}"), "eve")).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    assert_eq!(world.issuer.fetches() - before, 1);
    assert_eq!(world.chat(&world.issuer.token("ada")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_answers_badly_never_replaces_what_was_good_until_a_day_is_over() {
    let Some(world) = world().await else { return };
    let revision = world.revision();
    let symmetric = json!({"keys": [{"kty": "oct", "k": "AA", "kid": "test-key"}]}).to_string();
    for bad in ["<html>".to_owned(), "{\"keys\":[]}".to_owned(), symmetric, " ".repeat((1 << 20) + 1)] {
        world.issuer.answer_keys(bad.as_str());
        world.refreshed().await;
        let known = keys(&world.plane).await;
        assert_eq!(known["count"], 1, "{known}");
        assert!(known["last_error"].is_string(), "{known}");
    }
    world.issuer.break_down(true);
    world.refreshed().await;
    assert!(keys(&world.plane).await["last_error"].as_str().expect("told").contains("500"));
    assert_eq!(world.chat(&world.issuer.token("bea")).await.status, 200);
    assert_eq!(world.revision(), revision);

    let old = "update issuer_key_set set fetched_at = now() - interval '24 hours 1 second'";
    world.plane.database.as_superuser(old).expect("the superuser may");
    world.until(&world.issuer.token("cem"), 503).await;
    assert_eq!(keys(&world.plane).await["count"], 0);
    let trail = "select string_agg(action, ' ' order by n) from audit_entry where action like '%issuer_keys'";
    let trail = world.plane.database.as_superuser(trail).expect("the superuser may");
    assert_eq!(trail, "renew_issuer_keys withdraw_issuer_keys");

    world.issuer.break_down(false);
    world.issuer.publish_as(&["test-key"]);
    refresh(&world.plane);
    world.until(&world.issuer.token("dov"), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_leads_inside_is_not_followed_and_the_page_says_so() {
    let Some(plane) = control_plane().await else { return };
    let inside = TcpListener::bind("127.0.0.2:0").await.expect("all of 127/8 is loopback");
    let issuer = Issuer::start().await;
    issuer.keep_keys_at(&format!("http://{}/jwks", inside.local_addr().expect("bound")));
    set_provider(&plane, &issuer, "control_plane").await;
    let problem = eventually("the attempt is told", PATIENCE, async || {
        keys(&plane).await["last_error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(problem.contains("127.0.0.2") && problem.contains("--allow-addresses"), "{problem}");
    let knock = tokio::time::timeout(Duration::from_millis(200), inside.accept()).await;
    assert!(knock.is_err(), "no packet went there");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_control_planes_one_asks_an_issuer() {
    let Some(plane) = control_plane().await else { return };
    let _other = plane.beside().await;
    let issuer = Issuer::start().await;
    set_provider(&plane, &issuer, "control_plane").await;
    for asked in [2, 4, 6] {
        eventually("the issuer was asked", PATIENCE, async || (issuer.fetches() >= asked).then_some(()))
            .await;
        // Three times as long as either waits between two looks.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(issuer.fetches(), asked, "metadata and keys, by one of them");
        refresh(&plane);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_given_and_keys_that_are_fetched_contradict_each_other() {
    let Some(plane) = control_plane().await else { return };
    let provider = json!({
        "issuer": "https://login.example.com", "audiences": [AUDIENCE], "key_source": "control_plane",
        "jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
    });
    let client = plane.api().with_header("content-type", "application/json");
    let path = "/api/v1/tenants/acme/identity-providers/idp";
    let answer = client.send(Method::PUT, path, provider.to_string()).await.whole().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["errors"][0]["pointer"], "/key_source");
}
