//! What is in the table, and nothing that looks like it.

use super::{ADMIN, USER, digest_path, status_of, user, world};
use attach_tests::{
    Engine, Script,
    engine::{Seen, samples},
    gateway::{Setup, quantity},
};
use serde_json::{Value, json};

/// Other spellings of a path, which some server takes for it.
fn mutations(path: &str) -> Vec<String> {
    let at = path.rfind('/').expect("a path");
    let (folder, name) = path.split_at(at);
    let name = &name[1..];
    let (first, rest) = name.split_at(1);
    let escaped = format!("%{:02x}", first.as_bytes()[0]);
    let mut all = vec![
        format!("{path}/"),
        format!("/{path}"),
        format!("//{path}"),
        format!("{folder}//{name}"),
        format!("/.{path}"),
        format!("/x/..{path}"),
        format!("{folder}/./{name}"),
        format!("{path}/."),
        format!("{path}/x/.."),
        format!("{folder}/{}", name.to_uppercase()),
        format!("{folder}/{}{rest}", first.to_uppercase()),
        format!("{folder}/{escaped}{rest}"),
        format!("{folder}/%25{}{rest}", &escaped[1..]),
        format!("{folder}%2f{name}"),
        format!("/%2e{path}"),
        format!("/x/%2e%2e{path}"),
        format!("{path}%00"),
        format!("{path}%20"),
        format!("{path}%2f"),
        format!("{path}%3f"),
        format!("{path};a=b"),
        format!("{folder}\\{name}"),
        format!("/v1{path}"),
        format!("http://x/{path}"),
    ];
    all.retain(|mutation| mutation != path);
    assert_eq!(all.len(), 24, "{path}");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_an_engine_needs_the_permission_and_its_control_routes_are_nobodys() {
    let (engine, gateway) = world("").await;
    let blob = digest_path();
    let admin_routes = [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("HEAD", blob.as_str()),
        ("POST", blob.as_str()),
    ];
    let never_routes = [
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/sleep"),
        ("POST", "/wake_up"),
        ("POST", "/update_weights"),
        ("POST", "/collective_rpc"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/reset_prefix_cache"),
        ("GET", "/server_info"),
        ("POST", "/invocations"),
        ("POST", "/start_profile"),
        ("POST", "/scale_elastic_ep"),
        ("GET", "/slots"),
        ("POST", "/slots/erase"),
        ("POST", "/props"),
        ("POST", "/metrics"),
        ("POST", "/lora-adapters"),
        ("POST", "/models/load"),
        ("GET", "/v1/models/load"),
        ("POST", "/api/me"),
        ("POST", "/api/signout"),
        ("GET", "/openapi.json"),
        ("GET", "/debug/pprof"),
    ];
    let callers = [None, Some(USER), Some(ADMIN)];
    for (method, path) in admin_routes {
        assert_eq!(status_of(&gateway, method, path, None).await, 401, "{method} {path} of a stranger");
        assert_eq!(status_of(&gateway, method, path, Some(USER)).await, 403, "{method} {path} of a user");
    }
    for (method, path) in never_routes {
        for caller in callers {
            assert_eq!(status_of(&gateway, method, path, caller).await, 404, "{method} {path} of {caller:?}");
        }
    }
    let mut tried = 0;
    for (method, path) in admin_routes.into_iter().chain(never_routes) {
        for target in mutations(path) {
            for caller in callers {
                let status = status_of(&gateway, method, &target, caller).await;
                assert!(matches!(status, 400 | 404), "{method} {target} of {caller:?}: {status}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 31 * 24 * 3);
    let seen: Vec<_> =
        engine.seen().into_iter().map(|Seen { method, target, .. }| (method, target)).collect();
    assert!(seen.is_empty(), "the engine was asked {seen:?}");
    assert!(gateway.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_rule_nobody_changes_an_engine() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_keys(&[USER]).with_engine(&engine).start().await;
    let answer = user(&gateway).post("/api/pull", &json!({"model": "tiny"})).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    let chat = json!({"model": "tiny", "messages": []});
    assert_eq!(user(&gateway).post("/v1/chat/completions", &chat).await.status, 200);
    assert_eq!(engine.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reranking_is_counted_as_tokens_and_tokenizing_as_a_request() {
    let (engine, gateway) = world("").await;
    engine.set(Script::Json(200, json!({"results": [], "usage": {"total_tokens": 56}})));
    let body = json!({"model": "tiny", "query": "what", "documents": ["a", "b"]});
    assert_eq!(user(&gateway).post("/rerank", &body).await.status, 200);
    assert_eq!(engine.seen()[0].target, "/v1/rerank");
    engine.set(Script::Json(200, json!({"input_tokens": 9})));
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(user(&gateway).post("/v1/messages/count_tokens", &body).await.status, 200);
    let refused = user(&gateway).post("/v1/messages/count_tokens", &json!({})).await;
    assert_eq!(refused.json()["type"], "error", "in Anthropic's dialect: {}", refused.text());
    let events = gateway.wait_events(2).await;
    assert_eq!(events[0]["operation"], "rerank");
    assert_eq!(
        (quantity(&events[0], "input_tokens"), quantity(&events[0], "output_tokens")),
        // proto-JSON leaves a zero out.
        (Some(56), None)
    );
    assert_eq!((&events[1]["operation"], &events[1]["measures"]), (&json!("tokenize"), &Value::Null));
}
