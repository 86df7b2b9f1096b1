//! An engine that dies under a stream: nobody takes what came for the whole.

use crate::{World, clients::Running, counts::event_on_its_way};
use attach_tests::{Client, Gateway};
use serde_json::{Value, json};
use std::rc::Rc;

const LONG: u64 = 2000;

fn native(path: &str) -> Value {
    let options = json!({"num_predict": LONG});
    match path {
        "/api/chat" => {
            json!({"model": "tiny", "messages": [{"role": "user", "content": "x"}], "options": options})
        }
        _ => json!({"model": "tiny", "prompt": "x", "options": options}),
    }
}

fn compatible() -> Value {
    json!({"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": true, "max_tokens": LONG})
}

pub(crate) async fn the_stream_ends_in_an_error_of_its_dialect(world: Rc<World>) {
    let (gateway, token) = world.gateway(&world.ollama).await;
    let alice = gateway.client().with_bearer(&token);
    for path in ["/api/chat", "/api/generate"] {
        let text = killed(&world, &alice, path, &native(path)).await;
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
        assert!(lines.last().is_some_and(|last| last["error"].is_string()), "{path}: {text}");
        assert!(lines.iter().all(|line| line["done"] != true), "{path}: {text}");
        recorded(&gateway, path).await;
    }
    let text = killed(&world, &alice, "/v1/chat/completions", &compatible()).await;
    let last = text.trim_end().rsplit("\n\n").next().and_then(|event| event.strip_prefix("data: "));
    let last: Value =
        last.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(last["error"]["message"].is_string(), "{text}");
    assert!(!text.contains("[DONE]"), "{text}");
    recorded(&gateway, "/v1/chat/completions").await;

    let text = killed(&world, &alice, "/v1/messages", &compatible()).await;
    assert!(
        text.trim_end().rsplit("\n\n").next().is_some_and(|last| last.starts_with("event: error\n")),
        "{text}"
    );
    assert!(!text.contains("message_stop"), "{text}");
    recorded(&gateway, "/v1/messages").await;

    let mut whole = native("/api/generate");
    whole["stream"] = json!(false);
    // The model ends an answer when it likes. One that was complete before the runner was killed tells nothing.
    let mut answer = None;
    for _ in 0..10 {
        let (one, ()) = tokio::join!(alice.post("/api/generate", &whole), async {
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
            world.ollama.kill_runner();
        });
        restarted(&alice).await;
        let was_complete = one.status == 200 && one.json()["done"] == true;
        answer = Some(one);
        if !was_complete {
            break;
        }
    }
    let answer = answer.expect("an answer");
    assert!(answer.status.is_server_error() && answer.json()["error"].is_string(), "{answer:?}");
}

/// What came of a stream whose runner was killed after some pieces; the next request is served.
async fn killed(world: &World, alice: &Client, path: &str, body: &Value) -> String {
    let mut stream = alice.clone().with_header("x-request-id", &request_id(path)).stream(path, body).await;
    assert_eq!(stream.status, 200);
    let mut text = Vec::new();
    for _ in 0..3 {
        text.extend(stream.next().await.expect("a piece").expect("not the end"));
    }
    world.ollama.kill_runner();
    text.extend(stream.whole().await.body);
    let text = String::from_utf8(text).expect("UTF-8");
    println!("{path}: …{}", text.trim_end().rsplit('\n').next().unwrap_or_default());
    restarted(alice).await;
    text
}

fn request_id(path: &str) -> String {
    format!("killed{}", path.replace('/', "-"))
}

async fn recorded(gateway: &Gateway, path: &str) {
    let event = event_on_its_way(gateway, &request_id(path)).await;
    assert_eq!(event["outcome"], "OUTCOME_ENGINE_ERROR", "{event:#}");
}

/// Ollama starts its runner anew for the next request.
async fn restarted(alice: &Client) {
    let body = json!({"model": "tiny", "prompt": "x", "stream": false, "options": {"num_predict": 1}});
    let answer = alice.post("/api/generate", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

pub(crate) async fn the_official_clients_raise_an_error(world: Rc<World>) {
    let (gateway, token) = world.gateway(&world.ollama).await;
    let alice = gateway.client().with_bearer(&token);
    for flavour in ["ollama", "openai", "anthropic"] {
        restarted(&alice).await;
        let mut client =
            Running::long_stream(&world, flavour, &gateway, &token, &format!("raises-{flavour}"));
        client.pieces(3).await;
        world.ollama.kill_runner();
        let end = client.last_line().await;
        println!("{flavour} client: {end}");
        assert!(end.starts_with("error "), "{flavour}: {end}");
    }
    restarted(&alice).await;
}

/// The last scenario, for nothing starts it again.
pub(crate) async fn llamacpp_itself(world: Rc<World>) {
    let Some(engine) = &world.llamacpp else { return };
    let (gateway, token) = world.gateway(engine).await;
    let alice = gateway.client().with_bearer(&token);
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let mut stream =
            alice.clone().with_header("x-request-id", &request_id(path)).stream(path, &compatible()).await;
        if path == "/v1/messages" {
            // Dead since the round before.
            assert_eq!(stream.status, 502);
            continue;
        }
        for _ in 0..3 {
            stream.next().await.expect("a piece").expect("not the end");
        }
        engine.kill_runner();
        let text = stream.whole().await.text();
        assert!(text.contains(r#"data: {"error""#) && !text.contains("[DONE]"), "{text}");
        recorded(&gateway, path).await;
    }
}
