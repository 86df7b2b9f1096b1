//! API keys, from whoever makes one to the gateway that lets its holder in. Names that start with `k` and a number are the
//! cases of that number.

use attach_tests::{
    Answer, Client, ControlPlane, Engine, Gateway, engine::samples, eventually, gateway::Setup,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Five times what is promised for a key that is revoked: 5 s.
const REVOKED_WITHIN: Duration = Duration::from_secs(25);

async fn chat(client: &Client) -> Answer {
    client.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await
}

/// A control plane with the tenant `acme`, and a gateway that serves it.
struct World {
    plane: ControlPlane,
    gateway: Gateway,
    _engine: Engine,
}

impl World {
    async fn start() -> Option<Self> {
        let plane = ControlPlane::start().await?;
        let post = async |path: &str, body: Value| plane.call(Method::POST, path, body).await;
        post("/quota-stores", json!({"id": "memory", "kind": "local"})).await;
        post("/pools", json!({"id": "main", "name": "Main"})).await;
        post("/tenants", json!({"id": "acme", "name": "Acme", "quota_store": "memory", "pool": "main"}))
            .await;
        let engine = Engine::start(samples::openai_chat(7, 5)).await;
        let setup = Setup::new().with_engine(&engine).with_join(&plane.join_line("main"));
        let gateway = setup.start().await;
        eventually("the gateway is ready", PATIENCE, async || {
            (gateway.admin().get("/readyz").await.status == 200).then_some(())
        })
        .await;
        Some(Self { plane, gateway, _engine: engine })
    }

    async fn issue(&self, more: &Value) -> Value {
        let mut new = json!({"name": "ci", "owner": "ada"});
        for (name, value) in more.as_object().expect("an object") {
            new[name] = value.clone();
        }
        self.plane.call(Method::POST, "/tenants/acme/api-keys", new).await
    }

    async fn status(&self, issued: &Value) -> u16 {
        let secret = issued["secret"].as_str().expect("a secret");
        chat(&self.gateway.client().with_bearer(secret)).await.status.as_u16()
    }

    async fn until(&self, issued: &Value, status: u16, patience: Duration) {
        eventually(&format!("the key is answered {status}"), patience, async || {
            (self.status(issued).await == status).then_some(())
        })
        .await;
    }
}

fn path(issued: &Value, end: &str) -> String {
    format!("/tenants/acme/api-keys/{}/{end}", issued["id"].as_str().expect("an id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_good_by_both_secrets_for_the_overlap_and_by_the_new_one_after_it() {
    let Some(world) = World::start().await else { return };
    let first = world.issue(&json!({})).await;
    world.until(&first, 200, PATIENCE).await;
    let rotate = async |overlap: u32| {
        world.plane.call(Method::POST, &path(&first, "rotate"), json!({"overlap_seconds": overlap})).await
    };
    const OVERLAP: Duration = Duration::from_secs(6);
    let began = Instant::now();
    let second = rotate(6).await;
    world.until(&second, 200, PATIENCE).await;
    let seen = world.status(&first).await;
    // On a machine that is too busy to look in time there is nothing to see.
    assert!(seen == 200 || began.elapsed() > OVERLAP, "{seen} after {:?}", began.elapsed());
    world.until(&first, 401, PATIENCE).await;
    assert!(began.elapsed() >= OVERLAP, "the first secret ended after {:?}", began.elapsed());
    assert_eq!(world.status(&second).await, 200);

    let third = rotate(3_600).await;
    world.until(&third, 200, PATIENCE).await;
    let leaked = rotate(0).await;
    world.until(&leaked, 200, PATIENCE).await;
    for ended in [&first, &second, &third] {
        assert_eq!(world.status(ended).await, 401);
    }
    let events = world.gateway.events();
    let keys: std::collections::HashSet<_> =
        events.iter().map(|event| event["principal"]["key"].to_string()).collect();
    assert_eq!(keys.len(), 1, "it is one key: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn k5_a_revoked_key_is_out_within_seconds() {
    const KEYS: usize = 20;
    let Some(world) = World::start().await else { return };
    let mut taken = Vec::new();
    for _ in 0..KEYS {
        let key = world.issue(&json!({})).await;
        world.until(&key, 200, PATIENCE).await;
        let began = Instant::now();
        world.plane.call(Method::POST, &path(&key, "revoke"), Value::Null).await;
        world.until(&key, 401, REVOKED_WITHIN).await;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    println!(
        "{KEYS} keys revoked, from the call to the first refusal: median {:?}, longest {:?}",
        taken[KEYS / 2],
        taken[KEYS - 1]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_bounded_by_its_scopes_models_and_own_limits_and_shows_when_it_was_used() {
    let Some(world) = World::start().await else { return };
    let reader = world.issue(&json!({"scopes": ["read"]})).await;
    world.until(&reader, 403, PATIENCE).await;
    let other = world.issue(&json!({"models": ["huge"]})).await;
    world.until(&other, 403, PATIENCE).await;
    let limits = json!([{"measure": "requests", "amount": 2, "window_seconds": 3600}]);
    let limited = world.issue(&json!({"limits": limits})).await;
    world.until(&limited, 200, PATIENCE).await;
    let free = world.issue(&json!({})).await;
    world.until(&free, 200, PATIENCE).await;
    let statuses = [world.status(&limited).await, world.status(&limited).await, world.status(&free).await];
    assert_eq!(statuses, [200, 429, 200]);

    let used = async || {
        let keys = world.plane.call(Method::GET, "/tenants/acme/api-keys", Value::Null).await;
        let items = keys["items"].as_array().cloned().expect("a list");
        let of = |key: &Value| {
            items.iter().find(|item| item["id"] == key["id"]).map(|it| it["last_used_at"].clone())
        };
        (of(&limited), of(&reader))
    };
    eventually("the use is known", PATIENCE, async || used().await.0?.is_string().then_some(())).await;
    assert_eq!(used().await.1, Some(Value::Null), "refused requests are no use");
}

/// K2 too: the text of a key is hashed and compared, never made part of anything.
#[tokio::test(flavor = "multi_thread")]
async fn k2_a_hostile_key_is_refused_at_once_and_no_log_has_it() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_keys(&["sk-good-0123456789"]).with_engine(&engine).start().await;
    let hostile = [
        "'/**/OR/**/pg_sleep(10)--",
        "x'||pg_sleep(10)||'",
        "${jndi:ldap://127.0.0.1/canary}",
        "{{canary*canary}}",
        "../../etc/passwd",
        "%00canary",
        "atk_canarycanarycan_canarycanarycanarycanarycanarycanarycanarycanary",
    ];
    let mut longest = Duration::ZERO;
    for text in hostile {
        let began = Instant::now();
        let answer = chat(&gateway.client().with_bearer(text)).await;
        longest = longest.max(began.elapsed());
        assert_eq!(answer.status, 401, "{text}");
        assert!(
            !answer.text().contains("canary") && !answer.text().contains("pg_sleep"),
            "{}",
            answer.text()
        );
    }
    println!("the longest refusal of a hostile key took {longest:?}");
    // Five times what is promised: 50 ms.
    assert!(longest < Duration::from_millis(250), "{longest:?}");
    eventually("the refusals are logged", PATIENCE, async || {
        gateway.access_log().contains("malformed_api_key").then_some(())
    })
    .await;
    let told = format!("{}{}", gateway.log(), gateway.access_log());
    assert!(!told.contains("canary") && !told.contains("pg_sleep"), "{told}");
    assert!(engine.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_taken_as_the_password_of_basic_and_the_engine_never_sees_it() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_keys(&["sk-good-0123456789"]).with_engine(&engine).start().await;
    let basic = |text: &str| {
        let value = format!("Basic {}", STANDARD.encode(text));
        gateway.client().with_header("authorization", &value)
    };
    assert_eq!(chat(&basic("whoever:sk-good-0123456789")).await.status, 200);
    assert_eq!(chat(&basic("sk-good-0123456789:")).await.status, 401);
    let refused = chat(&basic("whoever:sk-bad")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"]["code"].as_str()),
        (401, Some("invalid_credential"))
    );
    let [seen] = engine.seen().try_into().expect("one request");
    assert!(!seen.headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_keys_says_what_each_may_do_acts_when_it_changes_and_not_when_it_is_wrong() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_keys(&["sk-first-0123456789"]).with_engine(&engine);
    let gateway = setup.start().await;
    let status = async |key: &str| chat(&gateway.client().with_bearer(key)).await.status.as_u16();
    assert_eq!(status("sk-first-0123456789").await, 200);

    let richer = json!({"keys": [
        "sk-first-0123456789",
        {"id": "reader", "key": "sk-reader-0123456789", "owner": "ada", "scopes": ["read"]},
        {"name": "by hash", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        {"key": "sk-ended-0123456789", "expires_at": "2020-01-01T00:00:00Z"},
    ]});
    setup.file("keys.json", &richer.to_string());
    eventually("the new file acts", PATIENCE, async || (status("test").await == 200).then_some(())).await;
    let statuses = [
        status("sk-first-0123456789").await,
        status("sk-reader-0123456789").await,
        status("sk-ended-0123456789").await,
    ];
    assert_eq!(statuses, [200, 403, 401]);

    setup.file("keys.json", r#"{"keys": ["sk-first-0123456789", {"key": "sk-canary", "scopes": ["root"]}]}"#);
    eventually("the mistake is told", PATIENCE, async || {
        gateway
            .log()
            .contains("keys[1].scopes[0]: must be one of inference, read, admin, act_as")
            .then_some(())
    })
    .await;
    assert!(!gateway.log().contains("sk-canary"), "{}", gateway.log());
    assert_eq!(status("test").await, 200, "the last good one serves on");
}
