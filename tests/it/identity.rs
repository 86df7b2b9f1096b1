//! Nobody reaches an engine without a credential that proves who they are.

use attach_tests::{
    Engine, Issuer,
    engine::samples,
    gateway::Setup,
    issuer::{now, sign},
};
use serde_json::{Value, json};

fn chat() -> Value {
    json!({"model": "tiny", "messages": []})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_good_credential_is_refused_and_the_engine_never_hears_of_it() {
    let issuer = Issuer::start().await;
    let stranger = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let good = issuer.token("alice");
    let unsigned = format!("{}.", good.rsplit_once('.').expect("a JWT").0);
    let claims = json!({"iss": issuer.url(), "aud": "test-api", "sub": "alice", "exp": now() + 600});
    let refused = [
        ("no such key", "sk-unknown".to_owned()),
        ("another issuer", stranger.token("alice")),
        ("expired", issuer.token_with("alice", &json!({"exp": now() - 120}))),
        ("no expiry", issuer.token_with("alice", &json!({"exp": null}))),
        ("another audience", issuer.token_with("alice", &json!({"aud": "other"}))),
        ("no audience", issuer.token_with("alice", &json!({"aud": null}))),
        ("no subject", issuer.token_with("alice", &json!({"sub": null}))),
        ("not yet valid", issuer.token_with("alice", &json!({"nbf": now() + 600}))),
        ("an issuer in a list", issuer.token_with("alice", &json!({"iss": [issuer.url()]}))),
        ("no signature", unsigned),
        ("another user's signature", {
            let bob = issuer.token("bob");
            format!("{}.{}", good.rsplit_once('.').expect("a JWT").0, bob.rsplit_once('.').expect("a JWT").1)
        }),
        ("alg none", sign(&json!({"alg": "none", "kid": "test-key"}), &claims)),
        (
            "a critical header",
            sign(&json!({"alg": "RS256", "kid": "test-key", "crit": ["x"], "x": 1}), &claims),
        ),
        ("an id token's type", sign(&json!({"alg": "RS256", "kid": "test-key", "typ": "dpop+jwt"}), &claims)),
        ("an unknown key", sign(&json!({"alg": "RS256", "kid": "other"}), &claims)),
    ];
    for (what, token) in &refused {
        let answer = gateway.client().with_bearer(token).post("/v1/chat/completions", &chat()).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{what}");
        assert_eq!(answer.json()["error"]["code"], "invalid_credential", "{what}");
    }
    let nobody = gateway.client().post("/v1/chat/completions", &chat()).await;
    assert_eq!(
        (nobody.status.as_u16(), nobody.header("www-authenticate")),
        (401, Some("Bearer realm=\"attach-gateway\""))
    );
    assert!(engine.seen().is_empty());

    let alice = gateway.client().with_bearer(&good).post("/v1/chat/completions", &chat()).await;
    assert_eq!(alice.status, 200);
    // Neither the log nor the metrics may hold a credential.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let everything =
        format!("{}{}{}", gateway.log(), gateway.access_log(), gateway.admin().get("/metrics").await.text());
    for (what, token) in refused.iter().chain([&("good", good.clone())]) {
        let secret = token.rsplit('.').next().filter(|part| part.len() > 20);
        assert!(secret.is_none_or(|secret| !everything.contains(secret)), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_learns_who_calls_from_the_credential_alone() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let alice = gateway
        .client()
        .with_bearer(&issuer.token("auth0|alice"))
        .with_header("x-attach-user", "root")
        .with_header("x-attach-tenant", "other")
        .with_header("x_attach_user", "root")
        .with_header("cookie", "session=1")
        .with_header("origin", "https://evil.example")
        .with_header("x-request-id", "my-id-1");

    let answer = alice.post("/v1/chat/completions", &chat()).await;

    assert_eq!((answer.status.as_u16(), answer.header("x-request-id")), (200, Some("my-id-1")));
    let [seen] = engine.seen().try_into().expect("one request");
    assert_eq!(seen.headers["x-attach-user"], ["auth0|alice"]);
    assert_eq!(seen.headers["x-attach-tenant"], ["default"]);
    assert_eq!(seen.headers["x-request-id"], ["my-id-1"]);
    assert_eq!(seen.headers["host"], [format!("127.0.0.1:{}", engine.port)]);
    for gone in ["authorization", "cookie", "origin", "x_attach_user"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuers_of_two_tenants_do_not_mix() {
    let (issuer_a, issuer_b) = (Issuer::start().await, Issuer::start().await);
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new()
        .with_bundle(&format!(
            "
tenants: [{{id: a}}, {{id: b}}]
identity_providers:
  - {{id: a, tenant: a, issuer: '{}', audiences: [for-a]}}
  - {{id: b, tenant: b, issuer: '{}', audiences: [for-b]}}
  - {{id: b-too, tenant: b, issuer: '{}', audiences: [shared]}}
models:
  - {{name: only-a, tenants: [a], targets: [{{upstream: engine}}]}}
  - {{name: both, aliases: [also-both], targets: [{{upstream: engine, engine_model: real}}]}}
access_rules:
  - {{tenant: b, groups: [staff], permissions: [PERMISSION_INFERENCE]}}
",
            issuer_a.url(),
            issuer_b.url(),
            issuer_a.url(),
        ))
        .with_engine(&engine)
        .start()
        .await;
    let call = async |token: String, model: &str| {
        let client = gateway.client().with_bearer(&token);
        client.post("/v1/chat/completions", &json!({"model": model, "messages": []})).await.status.as_u16()
    };
    let a = |aud: &str| issuer_a.token_with("alice", &json!({"aud": aud, "groups": ["staff"]}));
    let b = |groups: Value| issuer_b.token_with("bob", &json!({"aud": "for-b", "groups": groups}));

    assert_eq!(call(a("for-a"), "only-a").await, 200);
    assert_eq!(call(a("for-b"), "both").await, 401, "a's issuer does not speak for b's audience");
    assert_eq!(call(b(json!(["staff"])), "only-a").await, 404, "b does not even learn that it exists");
    assert_eq!(call(b(json!(["staff"])), "also-both").await, 200);
    assert_eq!(call(b(json!(["guests"])), "both").await, 403);
    assert_eq!(engine.seen().last().expect("served").headers["x-attach-tenant"], ["b"]);
    assert_eq!(engine.seen().last().expect("served").json()["model"], "real");
    // The same issuer, another audience: then she is b's.
    assert_eq!(call(a("shared"), "both").await, 200);
    assert_eq!(engine.seen().last().expect("served").headers["x-attach-tenant"], ["b"]);

    let seen_by_a = gateway.client().with_bearer(&a("for-a")).get("/v1/models").await.json();
    let names: Vec<_> =
        seen_by_a["data"].as_array().expect("a list").iter().map(|model| model["id"].clone()).collect();
    assert_eq!(names, ["only-a", "both"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_at_the_start_is_a_503_for_its_callers_and_recovers_by_itself() {
    let issuer = Issuer::start().await;
    issuer.break_down(true);
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with_keys(&["sk-test-0123456789"]).start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let app = gateway.client().with_bearer("sk-test-0123456789");

    let answer = alice.post("/v1/chat/completions", &chat()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
        (503, Some("issuer_unavailable"))
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(app.post("/v1/chat/completions", &chat()).await.status, 200, "others are served");

    issuer.break_down(false);
    attach_tests::eventually("alice is served", std::time::Duration::from_secs(40), async || {
        (alice.post("/v1/chat/completions", &chat()).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_from_the_keys_on_its_disk_while_the_issuer_is_down() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let mut gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let token = issuer.token("alice");
    assert_eq!(gateway.client().with_bearer(&token).post("/v1/chat/completions", &chat()).await.status, 200);
    // Beside the answer, which does not wait for the disk.
    let folder = gateway.state().join("jwks");
    attach_tests::eventually("the keys are on the disk", std::time::Duration::from_secs(10), async || {
        let mut files = std::fs::read_dir(&folder).ok()?;
        files.find(|file| {
            file.as_ref().is_ok_and(|it| it.path().extension().is_some_and(|name| name == "json"))
        })
    })
    .await
    .unwrap();
    issuer.break_down(true);

    let gateway = gateway.restart_after_kill().await;

    assert_eq!(gateway.client().with_bearer(&token).post("/v1/chat/completions", &chat()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_asks_the_issuer_once_and_expired_tokens_never() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    assert_eq!(alice.post("/v1/chat/completions", &chat()).await.status, 200);
    let before = issuer.fetches();

    let expired = gateway.client().with_bearer(&issuer.token_with("alice", &json!({"exp": now() - 600})));
    for _ in 0..20 {
        assert_eq!(expired.post("/v1/chat/completions", &chat()).await.status, 401);
    }
    assert_eq!(issuer.fetches(), before);

    let claims = json!({"iss": issuer.url(), "aud": "test-api", "sub": "alice", "exp": now() + 600});
    for n in 0..100 {
        let token = sign(&json!({"alg": "RS256", "kid": format!("unknown-{n}")}), &claims);
        let mallory = gateway.client().with_bearer(&token);
        assert_eq!(mallory.post("/v1/chat/completions", &chat()).await.status, 401);
    }
    assert!(issuer.fetches() <= before + 2, "{} fetches", issuer.fetches() - before);
    assert_eq!(alice.post("/v1/chat/completions", &chat()).await.status, 200);
}
