use crate::wire::World;
use attach_demo::engine::model::tokens;
use serde_json::json;

const ASK: &str = r#"{"model":"demo","system":"Be kind.","messages":[{"role":"user","content":[{"type":"text","text":"Hello"}]}]"#;

/// What the model reads of [`ASK`].
const PROMPT: &str = "system: Be kind.\nuser: Hello\nassistant:";

#[tokio::test]
async fn a_message_is_counted_and_cut_at_max_tokens() {
    let world = World::quick().await;
    let reply = world.post("/v1/messages", &format!("{ASK},\"max_tokens\":5}}")).await.json();
    assert_eq!(reply["content"], json!([{"type": "text", "text": "I am the demo engine"}]));
    assert_eq!(reply["stop_reason"], "max_tokens");
    assert_eq!(reply["usage"], json!({"input_tokens": tokens(PROMPT).count(), "output_tokens": 5}));
}

#[tokio::test]
async fn a_stream_goes_from_message_start_to_message_stop() {
    let world = World::quick().await;
    let reply = world.post("/v1/messages", &format!("{ASK},\"max_tokens\":500,\"stream\":true}}")).await;
    let events = reply.events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["message_start", "content_block_start"]);
    let [.., stop, delta, end] = events.as_slice() else { panic!("{kinds:?}") };
    assert_eq!(stop["type"], "content_block_stop");
    assert_eq!(delta["delta"]["stop_reason"], "end_turn");
    let deltas = kinds.iter().filter(|kind| **kind == "content_block_delta").count();
    assert_eq!(delta["usage"], json!({"input_tokens": tokens(PROMPT).count(), "output_tokens": deltas}));
    assert_eq!(end["type"], "message_stop");
    assert!(!reply.body.contains("[DONE]"));
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_dialect() {
    let world = World::quick().await;
    let missing = world.post("/v1/messages", &format!("{ASK}}}")).await;
    assert_eq!((missing.status, &missing.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    let unknown = world.post("/v1/messages", r#"{"model":"nope","max_tokens":1,"messages":[]}"#).await;
    assert_eq!((unknown.status, &unknown.json()["error"]["type"]), (404, &json!("not_found_error")));
    assert_eq!(unknown.json()["type"], "error");
}
