//! More than one engine.

use attach_tests::{
    Engine, Gateway, Script,
    engine::{Step, samples},
    free_port,
    gateway::Setup,
};
use serde_json::json;
use std::time::Duration;

const KEY: &str = "sk-test-0123456789";

async fn gateway(upstreams: &str) -> Gateway {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, KEY.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Setup::new().with_bundle(&format!("keys: [{{sha256: {hex}}}]\nupstreams: {upstreams}\n")).start().await
}

async fn chat(gateway: &Gateway) -> u16 {
    let client = gateway.client().with_bearer(KEY);
    client.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_to_the_other_engine_when_one_can_not_be_reached() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gone = free_port();
    let gateway = gateway(&format!(
        "[{{id: gone, url: 'http://127.0.0.1:{gone}'}}, {{id: here, url: '{}'}}]",
        engine.url()
    ))
    .await;
    for _ in 0..5 {
        assert_eq!(chat(&gateway).await, 200);
    }
    assert_eq!(engine.seen().len(), 5);
    let events = gateway.wait_events(5).await;
    let attempts = events[0]["attempts"].as_array().expect("attempts");
    assert_eq!(attempts[0]["error"], "unreachable");
    assert_eq!((&attempts[1]["upstream"], &attempts[1]["http_status"]), (&json!("here"), &json!(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_the_less_loaded_engine_by_weight_and_never_above_its_cap() {
    let hold = || Script::Raw(vec![Step::Wait]);
    let (small, large) = (Engine::start(hold()).await, Engine::start(hold()).await);
    let gateway = gateway(&format!(
        "[{{id: small, url: '{}', weight: 1, max_in_flight: 4}}, {{id: large, url: '{}', weight: 3, max_in_flight: 4}}]",
        small.url(),
        large.url()
    ))
    .await;
    let mut waiting = Vec::new();
    for already in 1..=8 {
        let client = gateway.client().with_bearer(KEY);
        waiting.push(tokio::spawn(async move {
            client.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await
        }));
        attach_tests::eventually("an engine has it", Duration::from_secs(5), async || {
            (small.seen().len() + large.seen().len() == already).then_some(())
        })
        .await;
        if already == 4 {
            assert_eq!((small.seen().len(), large.seen().len()), (1, 3), "one to three");
        }
    }
    assert_eq!((small.seen().len(), large.seen().len()), (4, 4));
    assert_eq!(chat(&gateway).await, 503, "both are full");
    for request in waiting {
        request.abort();
    }
}
