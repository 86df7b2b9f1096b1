//! Whatever is wrong is told clearly: what, where, and what to do. Nothing hangs, nothing panics, nothing is a 500.

use attach_tests::{Engine, Issuer, engine::samples, gateway::Setup};
use http::Method;
use serde_json::json;

#[test]
fn a_start_without_the_settings_it_needs_says_which_to_set() {
    let with = |pairs: &[(&str, &str)]| {
        let setup = pairs.iter().fold(Setup::new(), |setup, (name, value)| setup.with(name, value));
        setup.with_argument("--port").with_argument("0").run()
    };
    /// What is set, and the words that the complaint must have.
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: &[Case] = &[
        (&[], &["OIDC_ISSUER", "KEYS_FILE", "--config"]),
        (&[("OIDC_ISSUER", "https://a.example")], &["OIDC_AUD"]),
        (&[("OIDC_AUD", "api")], &["OIDC_ISSUER"]),
        (&[("OIDC_ISSUER", "a.example"), ("OIDC_AUD", "api")], &["OIDC_ISSUER", "https://"]),
        (&[("KEYS_FILE", "nowhere.json")], &["nowhere.json", "No such file"]),
        (&[("KEYS_FILE", "k"), ("MAX_TOKENS_PER_MIN", "many")], &["MAX_TOKENS_PER_MIN", "\"many\""]),
        (&[("KEYS_FILE", "k"), ("WINDOW", "0")], &["WINDOW"]),
        (&[("KEYS_FILE", "k"), ("MAX_REQUEST_BYTES", "-1")], &["MAX_REQUEST_BYTES"]),
        (&[("KEYS_FILE", "k"), ("ENGINE_URL", "ftp://x")], &["ENGINE_URL", "http://host:port"]),
        (
            &[("OIDC_ISSUER", "https://a.example"), ("OIDC_AUD", "api"), ("REDIS_URL", "localhost")],
            &["REDIS_URL", "redis://"],
        ),
        (&[("KEYS_FILE", "k"), ("MEM_BACKEND", "weaviate")], &["MEM_BACKEND", "none"]),
        (&[("KEYS_FILE", "k"), ("USAGE_METERING", "openmeter")], &["USAGE_METERING", "prometheus"]),
        (&[("KEYS_FILE", "k"), ("TEMPORAL_URL", "localhost:7233")], &["TEMPORAL_URL"]),
        (&[("KEYS_FILE", "k"), ("AUTH_BACKEND", "descope")], &["AUTH_BACKEND", "OIDC_ISSUER"]),
    ];
    for (pairs, expected) in cases {
        let (code, text) = with(pairs);
        assert_eq!(code, Some(78), "{pairs:?}: {text}");
        for word in *expected {
            assert!(text.contains(word), "{pairs:?} should tell of {word}: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn every_mistake_in_the_settings_is_told_at_once() {
    let setup = Setup::new()
        .with("OIDC_ISSUER", "https://a.example")
        .with("WINDOW", "x")
        .with("MEM_BACKEND", "weaviate");
    let (_, text) = setup.run();
    for name in ["OIDC_AUD", "WINDOW", "MEM_BACKEND"] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_bundle_file_and_the_environment_may_not_contradict_each_other() {
    let setup = Setup::new().with_bundle("limits: []").with("OIDC_ISSUER", "https://a.example");
    let (code, text) = setup.run();
    assert_eq!(code, Some(78));
    assert!(text.contains("OIDC_ISSUER") && text.contains("--config"), "{text}");

    let file = "
keys: [{sha256: '0000000000000000000000000000000000000000000000000000000000000000'}]
quota_stores: [{local: {}}]
upstreams: [{url: 'http://127.0.0.1:1'}]
";
    let (code, text) = Setup::new().with_bundle(file).with("ENGINE_URL", "http://127.0.0.1:2").run();
    assert_eq!(code, Some(78));
    assert!(text.contains("ENGINE_URL") && text.contains("upstreams"), "{text}");
    let (code, text) = Setup::new().with_bundle(file).with("REDIS_URL", "redis://127.0.0.1:2").run();
    assert_eq!(code, Some(78));
    assert!(text.contains("REDIS_URL") && text.contains("quota_stores"), "{text}");
}

#[test]
fn a_broken_bundle_or_dot_env_is_told_with_the_path_of_the_field() {
    let (code, text) =
        Setup::new().with_bundle("limits: [{window: 5s, amount: 1, measure: MEASURE_JOY}]").run();
    assert_eq!(code, Some(78));
    assert!(text.contains("limits[0].measure") && text.contains("bundle.yaml"), "{text}");

    let setup = Setup::new();
    setup.file(".env", "KEYS_FILE=k\nthis is no setting\n");
    let (code, text) = setup.run();
    assert_eq!(code, Some(78));
    assert!(text.contains(".env") && text.contains('2'), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told_also_when_another_gateway_has_it() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine).start().await;
    let taken = gateway.port.to_string();
    let setup =
        Setup::new().with_keys(&["sk-test-0123456789"]).with_argument("--port").with_argument(taken.clone());
    let (code, text) = setup.run();
    assert_eq!(code, Some(78));
    assert!(text.contains("--port") && text.contains(&taken) && text.contains("in use"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_can_not_be_served_is_a_400_that_says_why_in_the_callers_dialect() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine).start().await;
    let app = gateway.client().with_bearer("sk-test-0123456789");
    let cases = [
        ("", ""),
        ("not json", ""),
        ("[]", "object"),
        ("{}", "model"),
        (r#"{"model": ""}"#, "model"),
        (r#"{"model": "a b"}"#, "model"),
        (r#"{"model": 7}"#, "model"),
        (r#"{"model": "tiny"} x"#, ""),
        (r#"{"model": "tiny", "model": "big"}"#, "model"),
        (r#"{"model": "tiny", "MODEL": "big"}"#, "MODEL"),
        (r#"{"model": "tiny", "\u006dodel": "big"}"#, "model"),
        (r#"{"model": "tiny", "stream": "yes"}"#, "stream"),
        (r#"{"model": "tiny", "max_tokens": -1}"#, "max_tokens"),
        (r#"{"model": "tiny", "max_tokens": 1.5}"#, "max_tokens"),
        (r#"{"model": "tiny", "max_tokens": 1e99}"#, "max_tokens"),
        (r#"{"model": "tiny", "n": 100000}"#, "n"),
        (r#"{"model": "tiny", "stream_options": 7, "stream": true}"#, "stream_options"),
        (r#"{"model": "tiny", "options": {"num_predict": 5, "Num_Predict": 5000}}"#, "Num_Predict"),
    ];
    for (body, word) in cases {
        let openai = app.post_raw("/v1/chat/completions", body).await;
        assert_eq!(openai.status, 400, "{body}: {}", openai.text());
        let message = openai.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(word), "{body}: {message}");
        assert_eq!(openai.json()["error"]["type"], "invalid_request_error");
        // What only OpenAI knows means nothing to Ollama.
        if !body.contains("max_tokens") {
            let ollama = app.post_raw("/api/chat", body).await;
            assert!(ollama.status == 400 && ollama.json()["error"].is_string(), "{body}: {}", ollama.text());
        }
        let anthropic = app.post_raw("/v1/messages", body).await;
        assert_eq!(anthropic.json()["type"], "error", "{body}");
    }
    assert!(engine.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_unknown_and_wrong_method_have_their_own_status() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine);
    let gateway = setup.with("MAX_REQUEST_BYTES", "1000").start().await;
    let app = gateway.client().with_bearer("sk-test-0123456789");

    let large = app.post("/v1/chat/completions", &json!({"model": "tiny", "x": "y".repeat(2000)})).await;
    assert_eq!(
        (large.status.as_u16(), large.json()["error"]["code"].as_str()),
        (413, Some("request_too_large"))
    );
    assert!(large.text().contains("1000"));

    for path in ["/pause", "/v1/audio/speech", "/v2/chat", "/api/%63hat", "/api/chat/"] {
        assert_eq!(app.post(path, &json!({"model": "tiny"})).await.status, 404, "{path}");
    }
    let get = app.get("/api/chat").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, Some("POST")));
    assert!(engine.seen().is_empty());

    let two_hosts =
        gateway.client().with_bearer("sk-test-0123456789").with_header("host", "a").with_header("host", "b");
    assert_eq!(two_hosts.get("/api/tags").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_explained_by_its_request_id() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let token = issuer.token_with("alice", &json!({"aud": "somebody-else"}));
    let answer = gateway.client().with_bearer(&token).get("/api/tags").await;
    let id = answer.header("x-request-id").expect("every answer has one").to_owned();

    let explained =
        attach_tests::eventually("it is explained", std::time::Duration::from_secs(5), async || {
            let output = gateway.command(&["explain", &id]);
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        })
        .await;

    assert!(explained.contains("somebody-else") && explained.contains("aud"), "{explained}");
    let unknown = gateway.command(&["explain", "no-such-id"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no refusal with this id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_pass_without_being_metered() {
    let engine = Engine::start(attach_tests::Script::Json(200, json!({"models": []}))).await;
    let gateway = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine).start().await;
    let app = gateway.client().with_bearer("sk-test-0123456789");
    for path in ["/api/tags", "/api/ps", "/api/version", "/v1/models", "/models", "/v1/models/tiny", "/"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
        let head = app.send(Method::HEAD, path, "").await;
        assert_eq!(head.status, 200, "HEAD {path}");
    }
    // As the `ollama` command has it, and an older client.
    for body in [json!({"model": "", "name": "tiny"}), json!({"name": "tiny"})] {
        assert_eq!(app.post("/api/show", &body).await.status, 200, "{body}");
    }
    assert_eq!(app.post("/api/show", &json!({"model": ""})).await.status, 400);
    assert_eq!(gateway.client().get("/api/tags").await.status, 401, "reading needs a credential too");
    assert_eq!(gateway.events().len(), 0);
    let check = gateway.command(&["usage"]);
    assert!(String::from_utf8_lossy(&check.stdout).contains("no usage"), "{check:?}");
}

#[test]
fn a_bundle_is_checked_without_starting() {
    let setup = Setup::new();
    let good =
        setup.file("good.yaml", "identity_providers: [{issuer: 'https://a.example', audiences: [api]}]");
    let bad = setup.file("bad.yaml", "identity_providers: [{issuer: 'https://a.example'}]");
    let check = |path: &std::path::Path| {
        let output =
            std::process::Command::new(attach_tests::gateway::binary()).arg("check").arg(path).output();
        output.expect("the binary runs")
    };
    assert!(check(&good).status.success());
    let known = "identity_providers:
        - {id: staff, issuer: 'https://acme.eu.auth0.com/', audiences: [api], claims: {user: /email}}
        - {id: shop, issuer: 'https://shop.example', audiences: [api], product: IDENTITY_PRODUCT_DEX}";
    let taken = check(&setup.file("known.yaml", known));
    let said = String::from_utf8_lossy(&taken.stdout).into_owned();
    let (staff, shop) = said.split_once("identity provider shop").expect("both are told of");
    for line in ["taken for            Auth0, by its address", "claims.roles         */roles", "RS256, PS256"]
    {
        assert!(staff.contains(line), "{line}: {said}");
    }
    assert!(!staff.contains("claims.user"), "what the file says was not filled in: {said}");
    assert!(shop.contains("dex, as the file says") && shop.contains("ID tokens"), "{said}");
    let refused = check(&bad);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("identity_providers[0].audiences"));
}
