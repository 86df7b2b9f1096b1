//! What the users of Attach Gateway and Ollama Auth Proxy type today works here as it is.

use attach_tests::{Engine, Issuer, engine::samples, gateway::Setup};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn curl_without_a_content_type_and_with_a_prompt_chats() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::ollama_chat(11, 7)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;

    // `curl -d` sends form data by name, whatever it holds.
    let alice = gateway
        .client()
        .with_bearer(&issuer.token("alice"))
        .with_header("content-type", "application/x-www-form-urlencoded");
    let answer = alice.post_raw("/api/chat", r#"{"model":"llama3","prompt":"hello"}"#).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["message"]["content"], "hi");
    let [seen] = engine.seen().try_into().expect("one request");
    assert_eq!(seen.json(), json!({"model": "llama3", "messages": [{"role": "user", "content": "hello"}]}));
    assert_eq!(seen.header("content-type"), Some("application/json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_client_with_a_key_of_the_keys_file_and_no_version_in_its_address_chats() {
    let engine = Engine::start(samples::openai_chat(11, 7)).await;
    let setup = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine);
    let gateway = setup.start().await;

    let app = gateway.client().with_bearer("sk-test-0123456789");
    let answer = app.post("/chat/completions", &json!({"model": "tiny", "messages": []})).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(engine.seen()[0].target, "/v1/chat/completions");
    assert_eq!(answer.header("x-tokens-in"), Some("11"));
    assert_eq!(answer.header("x-tokens-out"), Some("7"));
    assert_eq!(answer.header("x-llm-model"), Some("tiny"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_added_to_the_file_acts_without_a_restart_and_one_that_is_removed_stops() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_keys(&["sk-first-0123456789"]).with_engine(&engine);
    let gateway = setup.start().await;
    let body = json!({"model": "tiny", "messages": []});
    let old = gateway.client().with_bearer("sk-first-0123456789");
    let new = gateway.client().with_bearer("sk-second-0123456789");
    assert_eq!(new.post("/v1/chat/completions", &body).await.status, 401);
    assert_eq!(old.post("/v1/chat/completions", &body).await.status, 200);

    setup.file("keys.json", r#"{"keys": ["sk-second-0123456789"]}"#);

    attach_tests::eventually("the new key acts", std::time::Duration::from_secs(5), async || {
        (new.post("/v1/chat/completions", &body).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(old.post("/v1/chat/completions", &body).await.status, 401);

    // A file that is broken half-way through an edit changes nothing.
    setup.file("keys.json", r#"{"keys": ["sk-third"#);
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(new.post("/v1/chat/completions", &body).await.status, 200);
    assert!(gateway.log().contains("serves on"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_without_its_final_slash_is_taken_in_the_form_of_its_metadata() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let without_slash = issuer.url();
    issuer.call_itself(&format!("{without_slash}/"));
    let gateway = Setup::new()
        .with("OIDC_ISSUER", &without_slash)
        .with("OIDC_AUD", attach_tests::issuer::AUDIENCE)
        .with_engine(&engine)
        .start()
        .await;
    let body = json!({"model": "tiny", "messages": [], "stream": false});

    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    assert_eq!(alice.post("/api/chat", &body).await.status, 200);

    let imitation = issuer.token_with("alice", &json!({"iss": without_slash}));
    let mallory = gateway.client().with_bearer(&imitation);
    assert_eq!(mallory.post("/api/chat", &body).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dot_env_file_and_a_bare_ollama_host_are_enough() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let setup = Setup::new();
    setup.file(
        ".env",
        &format!(
            "OIDC_ISSUER={}\nOIDC_AUD=\"test-api\"\nOLLAMA_HOST=127.0.0.1:{}\nMEM_BACKEND=none\nUSAGE_METERING=prometheus\n",
            issuer.url(),
            engine.port
        ),
    );
    let gateway = setup.start().await;

    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let answer = alice.post("/api/chat", &json!({"model": "tiny", "messages": [], "stream": false})).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let own = alice.get("/metrics").await.text();
    assert!(
        own.contains(r#"attach_usage_tokens_total{user="alice",direction="in",model="tiny"} 1"#),
        "{own}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_learns_where_to_sign_in_without_a_token() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with("AUTH0_DOMAIN", "acme.auth0.com").with("AUTH0_CLIENT", "abc").start().await;

    let answer = gateway.client().get("/auth/config").await;

    assert_eq!(
        answer.json(),
        json!({
            "issuer": issuer.url(), "domain": "acme.auth0.com", "client_id": "abc", "audience": "test-api",
        })
    );
    assert_eq!(gateway.client().get("/health").await.status, 200);
}
