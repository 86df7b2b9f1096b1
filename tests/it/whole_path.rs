//! From the operator's REST API to a refusal at a gateway, and from an answer to a sum in the control plane.

use attach_tests::{
    ControlPlane, Engine, Gateway, Issuer,
    engine::samples,
    eventually,
    gateway::{Setup, did},
    issuer::AUDIENCE,
};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Five times the target of a second for a thousand gateways.
const SOON: Duration = Duration::from_secs(5);

fn chat() -> Value {
    json!({"model": "tiny", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
}

/// A control plane with a store in memory.
async fn control_plane() -> Option<ControlPlane> {
    let plane = ControlPlane::start().await?;
    plane.call(Method::POST, "/quota-stores", json!({"id": "memory", "kind": "local"})).await;
    Some(plane)
}

/// A tenant in a pool of its own, whose callers have tokens of this issuer.
async fn tenant(plane: &ControlPlane, name: &str, issuer: &Issuer) {
    tenant_without_issuer(plane, name).await;
    trust(plane, name, issuer).await;
}

async fn tenant_without_issuer(plane: &ControlPlane, name: &str) {
    plane.call(Method::POST, "/pools", json!({"id": name, "name": name})).await;
    let body = json!({"id": name, "name": format!("{name} Ltd"), "quota_store": "memory", "pool": name});
    plane.call(Method::POST, "/tenants", body).await;
}

async fn trust(plane: &ControlPlane, tenant: &str, issuer: &Issuer) {
    let body = json!({"issuer": issuer.url(), "audiences": [AUDIENCE], "algorithms": ["RS256"]});
    plane.call(Method::PUT, &format!("/tenants/{tenant}/identity-providers/idp"), body).await;
}

async fn key(plane: &ControlPlane, tenant: &str, owner: &str) -> (String, String) {
    let body = json!({"name": "ci", "owner": owner});
    let made = plane.call(Method::POST, &format!("/tenants/{tenant}/api-keys"), body).await;
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

async fn limit(plane: &ControlPlane, tenant: &str, amount: u64) {
    let body = json!({"counter": "shared", "measure": "requests", "amount": amount, "window_seconds": 3600});
    plane.call(Method::PUT, &format!("/tenants/{tenant}/limits/requests"), body).await;
}

async fn gateway(plane: &ControlPlane, pool: &str, engine: &Engine) -> Gateway {
    // Its host's operator lets the tenants' issuers lie on loopback, where the tests' are.
    let setup = Setup::new().with("ALLOW_ADDRESSES", "127.0.0.1");
    ready(setup, plane, pool, engine).await
}

async fn ready(setup: Setup, plane: &ControlPlane, pool: &str, engine: &Engine) -> Gateway {
    let gateway = setup.with_engine(engine).with_join(&plane.join_line(pool)).start().await;
    eventually("the gateway is ready", Duration::from_secs(20), async || {
        let ready = gateway.admin().send(Method::GET, "/readyz", "").await.whole().await;
        (ready.status == 200).then_some(())
    })
    .await;
    gateway
}

async fn status(gateway: &Gateway, credential: &str) -> u16 {
    gateway.client().with_bearer(credential).post("/v1/chat/completions", &chat()).await.status.as_u16()
}

/// How long it took until this is what the gateway answers.
async fn until(gateway: &Gateway, credential: &str, expected: u16, what: &str) -> Duration {
    let began = Instant::now();
    eventually(what, SOON, async || (status(gateway, credential).await == expected).then_some(())).await;
    began.elapsed()
}

/// Each change is asked for as an operator does, and the clock runs from the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_limit_a_revoked_key_and_a_removed_issuer_act_at_the_gateway() {
    let Some(plane) = control_plane().await else { return };
    let (issuer, engine) = (Issuer::start().await, Engine::start(samples::openai_chat(7, 5)).await);
    tenant(&plane, "acme", &issuer).await;
    limit(&plane, "acme", 1_000_000).await;
    let (_, standing) = key(&plane, "acme", "ada").await;
    let gateway = gateway(&plane, "acme", &engine).await;
    let token = issuer.token("alice");
    until(&gateway, &token, 200, "alice is served").await;

    let mut took = Vec::new();
    for round in 0..50 {
        took.push(match round % 3 {
            0 => {
                let (id, secret) = key(&plane, "acme", "bob").await;
                until(&gateway, &secret, 200, "the new key is good").await;
                plane.call(Method::POST, &format!("/tenants/acme/api-keys/{id}/revoke"), Value::Null).await;
                until(&gateway, &secret, 401, "the revoked key is refused").await
            }
            1 => {
                limit(&plane, "acme", 1).await;
                let acted = until(&gateway, &standing, 429, "the lowered limit refuses").await;
                limit(&plane, "acme", 1_000_000).await;
                until(&gateway, &standing, 200, "the raised limit serves").await;
                acted
            }
            _ => {
                plane.call(Method::DELETE, "/tenants/acme/identity-providers/idp", Value::Null).await;
                let acted = until(&gateway, &token, 401, "the issuer is not believed any more").await;
                trust(&plane, "acme", &issuer).await;
                until(&gateway, &token, 200, "the issuer is believed again").await;
                acted
            }
        });
    }
    took.sort();
    println!(
        "50 changes acted after: median {:?}, p99 {:?}, the last {:?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took.last()
    );
    assert!(took.last().is_some_and(|last| *last < SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_serves_nobody_any_more() {
    let Some(plane) = control_plane().await else { return };
    let (issuer, engine) = (Issuer::start().await, Engine::start(samples::openai_chat(7, 5)).await);
    tenant(&plane, "acme", &issuer).await;
    let (_, secret) = key(&plane, "acme", "ada").await;
    let gateway = gateway(&plane, "acme", &engine).await;
    until(&gateway, &secret, 200, "it serves").await;
    let agents = plane.call(Method::GET, "/agents", Value::Null).await;
    let agent = agents["items"][0]["id"].as_str().expect("one agent").to_owned();
    plane.call(Method::POST, &format!("/agents/{agent}/revoke"), Value::Null).await;
    let took = until(&gateway, &secret, 401, "the revoked agent refuses").await;
    println!("a revoked agent was out after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_with_a_gateway_each_see_nothing_of_each_other() {
    let Some(plane) = control_plane().await else { return };
    let engine = Engine::start(samples::openai_chat(7, 5)).await;
    let mut gateways = Vec::new();
    for (name, users) in [("acme", ["alice", "anna"]), ("globex", ["gwen", "george"])] {
        let issuer = Issuer::start().await;
        tenant(&plane, name, &issuer).await;
        limit(&plane, name, 1_000).await;
        let (_, secret) = key(&plane, name, users[1]).await;
        let gateway = gateway(&plane, name, &engine).await;
        let token = issuer.token(users[0]);
        for credential in [&token, &secret] {
            until(&gateway, credential, 200, "it serves its own").await;
        }
        gateways.push((name, users, issuer, gateway, token, secret));
    }
    for (name, users, _, gateway, ..) in &gateways {
        let other = &gateways[usize::from(*name == "acme")];
        let strange = [other.0, other.1[0], other.1[1], &other.2.url()];
        let path = format!("/tenants/{name}");
        eventually("the usage arrived", Duration::from_secs(20), async || {
            let usage = plane
                .call(Method::GET, &format!("{path}/usage?by=user,model"), Value::Null)
                .await
                .to_string();
            users.iter().all(|user| usage.contains(user)).then_some(())
        })
        .await;
        let mut seen =
            vec![gateway.log(), gateway.access_log(), gateway.admin().get("/metrics").await.text()];
        let state = std::fs::read(gateway.state().join("enrolment/bundle")).expect("the bundle is kept");
        seen.push(String::from_utf8_lossy(&state).into_owned());
        for of in [
            "",
            "/api-keys",
            "/limits",
            "/identity-providers",
            "/access-rules",
            "/usage?by=user,model",
            "/usage-events",
            "/audit",
        ] {
            seen.push(plane.call(Method::GET, &format!("{path}{of}"), Value::Null).await.to_string());
        }
        for (index, text) in seen.iter().enumerate() {
            for word in strange {
                assert!(!text.contains(word), "{name} sees {word} in text {index}: {text}");
            }
        }
    }
    // The one's credentials are nothing to the other.
    for (of, at) in [(0, 1), (1, 0)] {
        for credential in [&gateways[of].4, &gateways[of].5] {
            assert_eq!(status(&gateways[at].3, credential).await, 401);
        }
    }
    // By another tenant's name a thing is not there.
    let keys = plane.call(Method::GET, "/tenants/globex/api-keys", Value::Null).await;
    let foreign = keys["items"][0]["id"].as_str().expect("one key").to_owned();
    let path = format!("/api/v1/tenants/acme/api-keys/{foreign}/revoke");
    assert_eq!(plane.api().send(Method::POST, &path, "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_a_tenant_puts_inside_the_hosts_network_is_never_dialled() {
    let Some(plane) = control_plane().await else { return };
    let (issuer, engine) = (Issuer::start().await, Engine::start(samples::openai_chat(7, 5)).await);
    tenant(&plane, "acme", &issuer).await;
    // Another loopback address than the one that is excepted.
    let setup = Setup::new().with_argument("--allow-addresses=127.0.0.2,10.1.0.0/16");
    let gateway = ready(setup, &plane, "acme", &engine).await;
    assert_eq!(status(&gateway, &issuer.token("alice")).await, 503);
    let state = gateway.admin().get("/readyz").await.text();
    assert!(state.contains("leads to 127.0.0.1, which is loopback and not public"), "{state}");
    assert!(state.contains("--allow-addresses"), "{state}");
    assert_eq!(issuer.fetches(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_did_that_the_operator_allows_calls_for_its_tenant_until_it_is_taken_away() {
    let Some(plane) = control_plane().await else { return };
    let (issuer, engine) = (Issuer::start().await, Engine::start(samples::openai_chat(7, 5)).await);
    for name in ["acme", "globex"] {
        tenant_without_issuer(&plane, name).await;
    }
    trust(&plane, "acme", &issuer).await;
    let gateway = gateway(&plane, "acme", &engine).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = did(folder.path(), &["new", "--out", "alice.pem"]);
    let token = did(folder.path(), &["token", "--key", "alice.pem", "--audience", "https://llm.example"]);
    assert_eq!(status(&gateway, &token).await, 401);

    let policy = |more: Value| {
        let mut policy = json!({"allowed": [made], "audiences": ["https://llm.example"]});
        policy.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({ "did": policy })
    };
    let changed = plane.call(Method::PATCH, "/tenants/acme", policy(json!({}))).await;
    let expected = json!({"allowed": [made], "audiences": ["https://llm.example"], "max_lifetime_seconds": 3600,
        "one_time": false, "web": false, "domains": ["llm.example"]});
    assert_eq!(changed["did"], expected);
    until(&gateway, &token, 200, "the DID is served").await;
    let usage = "select distinct tenant_id, subject from usage_event";
    eventually("its usage has arrived", Duration::from_secs(20), async || {
        let rows = plane.database.as_superuser(usage).expect("the superuser may");
        (rows == format!("acme|{made}")).then_some(())
    })
    .await;
    // A change of something else leaves it.
    let renamed = plane.call(Method::PATCH, "/tenants/acme", json!({"name": "Acme again"})).await;
    assert_eq!(renamed["did"], expected);

    // What would make it another tenant's too, and what is no policy.
    for (tenant, body, pointer) in [
        ("globex", policy(json!({})), "/did"),
        ("globex", policy(json!({"allowed": ["*"]})), "/did"),
        ("acme", policy(json!({"allowed": ["alice"]})), "/did/allowed/0"),
        ("acme", policy(json!({"max_lifetime_seconds": 90_000})), "/did/max_lifetime_seconds"),
    ] {
        let client = plane.api().with_header("content-type", "application/json");
        let path = format!("/api/v1/tenants/{tenant}");
        let answer = client.send(Method::PATCH, &path, body.to_string()).await.whole().await;
        let problem = answer.json();
        assert_eq!(answer.status, 422, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    plane.call(Method::PATCH, "/tenants/acme", json!({"did": null})).await;
    until(&gateway, &token, 401, "the DID is refused").await;
    plane.call(Method::PATCH, "/tenants/globex", policy(json!({}))).await;
}
