//! Who leaves frees the engine for the next.

use crate::{World, clients::Running, counts::event_on_its_way, engines::Engine, milliseconds};
use attach_tests::{Client, Gateway};
use serde_json::{Value, json};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

/// The promise.
const FREED: Duration = Duration::from_secs(1);

/// So many pieces are read before leaving; whoever stayed would get two thousand.
const PIECES: u64 = 3;

/// Path and body of a stream that would take the engine most of a minute.
fn long_streams() -> [(&'static str, Value); 4] {
    let messages = json!([{"role": "user", "content": "Once upon a time"}]);
    let options = json!({"num_predict": 2000});
    [
        ("/api/chat", json!({"model": "tiny", "messages": messages, "options": options})),
        ("/api/generate", json!({"model": "tiny", "prompt": "Once upon a time", "options": options})),
        (
            "/v1/chat/completions",
            json!({"model": "tiny", "messages": messages, "stream": true, "max_tokens": 2000}),
        ),
        ("/v1/messages", json!({"model": "tiny", "messages": messages, "stream": true, "max_tokens": 2000})),
    ]
}

pub(crate) async fn a_client_that_leaves_frees_the_engine_within_a_second(world: Rc<World>) {
    for engine in [Some(&world.ollama), world.llamacpp.as_ref()].into_iter().flatten() {
        let (gateway, token) = world.gateway(engine).await;
        let alice = gateway.client().with_bearer(&token);
        let alone = next(&alice).await;
        for (path, body) in long_streams() {
            if engine.name() == "llama.cpp" && path.starts_with("/api/") {
                continue;
            }
            let idle = leave(engine, &gateway, &alice, path, &body, true).await;
            // Again, with somebody who waits.
            let _ = leave(engine, &gateway, &alice, path, &body, false).await;
            let served = next(&alice).await;
            let (idle_ms, served_ms) = (milliseconds(idle), milliseconds(served));
            world.note(format!(
                "{} {path}: idle {idle_ms} after the client left; the next is served in {served_ms} ({} when alone)",
                engine.name(),
                milliseconds(alone)
            ));
            assert!(idle < FREED, "{path}: {idle:?}");
            assert!(served < FREED + alone, "{path}: {served:?}");
        }
        if engine.name() == "Ollama" {
            let idle = leave_unanswered(engine, &gateway, &token).await;
            world.note(format!("Ollama, not streaming: idle {} after the client left", milliseconds(idle)));
            assert!(idle < FREED, "not streaming: {idle:?}");
        }
    }
}

/// Time to a whole answer of one token.
async fn next(alice: &Client) -> Duration {
    let began = Instant::now();
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1});
    let answer = alice.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    began.elapsed()
}

/// Leaves after some pieces; how long the engine computes on, if that is to be waited for.
async fn leave(
    engine: &Engine,
    gateway: &Gateway,
    alice: &Client,
    path: &str,
    body: &Value,
    wait: bool,
) -> Duration {
    let request_id = format!("leaving{path}-{wait}").replace('/', "-");
    let mut stream = alice.clone().with_header("x-request-id", &request_id).stream(path, body).await;
    assert_eq!(stream.status, 200);
    for _ in 0..PIECES {
        stream.next().await.expect("a piece").expect("not the end");
    }
    assert!(engine.is_at_work().await, "else there is nothing to be freed");
    drop(stream);
    let left = Instant::now();
    let idle = if wait { engine.idle_after(left).await } else { Duration::ZERO };
    if wait {
        let event = event_on_its_way(gateway, &request_id).await;
        assert_eq!(event["outcome"], "OUTCOME_CLIENT_GONE", "{event:#}");
        let counted = attach_tests::gateway::quantity(&event, "output_tokens").unwrap_or(0);
        assert!((1..2000).contains(&counted), "what was sent is counted, by estimate: {event:#}");
    }
    idle
}

/// Leaves while the engine computes the whole answer, of which nothing has come.
async fn leave_unanswered(engine: &Engine, gateway: &Gateway, token: &str) -> Duration {
    let body = json!({"model": "tiny", "prompt": "Once upon a time", "stream": false, "options": {"num_predict": 2000}});
    let body = body.to_string();
    let head = format!(
        "POST /api/generate HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nx-request-id: unanswered\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    connection.write_all(head.as_bytes()).await.expect("it reads");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(engine.is_at_work().await, "else there is nothing to be freed");
    drop(connection);
    let idle = engine.idle_after(Instant::now()).await;
    let event = event_on_its_way(gateway, "unanswered").await;
    assert_eq!(event["outcome"], "OUTCOME_CLIENT_GONE", "{event:#}");
    idle
}

pub(crate) async fn an_official_client_that_is_killed_frees_the_engine_within_a_second(world: Rc<World>) {
    let (gateway, token) = world.gateway(&world.ollama).await;
    for flavour in ["ollama", "openai", "anthropic"] {
        let request_id = format!("killed-{flavour}");
        let mut client = Running::long_stream(&world, flavour, &gateway, &token, &request_id);
        client.pieces(3).await;
        client.kill();
        let idle = world.ollama.idle_after(Instant::now()).await;
        world.note(format!("Ollama, {flavour} client killed: idle {} after", milliseconds(idle)));
        assert!(idle < FREED, "{flavour}: {idle:?}");
        let event = event_on_its_way(&gateway, &request_id).await;
        assert_eq!(event["outcome"], "OUTCOME_CLIENT_GONE", "{event:#}");
    }
}
