//! Streams through an nginx with its defaults, which buffers answers and gives up after a minute without a byte.

use attach_tests::{
    Client, Engine, Gateway, Nginx, Script,
    engine::{Step, samples},
    gateway::Setup,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KEY: &str = "sk-test-0123456789";

async fn world(script: Script) -> Option<(Engine, Gateway, Nginx, Client)> {
    let engine = Engine::start(script).await;
    let gateway = Setup::new().with_keys(&[KEY]).with_engine(&engine).start().await;
    let nginx = Nginx::start(gateway.port)?;
    let client = Client::new(nginx.port).with_bearer(KEY);
    Some((engine, gateway, nginx, client))
}

fn streaming() -> Value {
    json!({"model": "tiny", "messages": [], "stream": true})
}

/// The chunks, and what the engine does before the one at this place.
fn interrupted(chunks: Vec<Bytes>, at: usize, by: Step) -> Vec<Step> {
    let mut steps: Vec<_> = chunks.into_iter().map(Step::Chunk).collect();
    steps.insert(at, by);
    steps.push(Step::End);
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn each_piece_passes_when_it_comes() {
    let cases = [
        ("/v1/chat/completions", "text/event-stream", samples::openai_chunks(9, 3)),
        ("/v1/messages", "text/event-stream", samples::anthropic_chunks(9, 3)),
        ("/api/chat", "application/x-ndjson", samples::ollama_chunks(9, 3)),
    ];
    for (path, content_type, chunks) in cases {
        let first = chunks[0].clone();
        let script = Script::Stream(content_type, interrupted(chunks, 1, Step::Wait));
        let Some((engine, _gateway, _nginx, client)) = world(script).await else { return };
        let mut stream = client.stream(path, &streaming()).await;
        // The engine goes on only after this came.
        assert_eq!(stream.next().await.expect("a piece"), Some(first), "{path}");
        engine.go_on(1);
        assert!(stream.whole().await.broken.is_none(), "{path}");
    }
}

/// Two minutes of silence in all: before the first event, and between two.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for more than a minute; tests/run all"]
async fn a_silent_engine_does_not_lose_its_caller_to_the_patience_of_nginx() {
    let silence = Step::Sleep(Duration::from_secs(65));
    let scripts = [
        interrupted(samples::openai_chunks(9, 3), 0, silence.clone()),
        interrupted(samples::openai_chunks(9, 3), 2, silence.clone()),
        // Within an event nothing may be said, so nginx gives up: the event is not broken by us.
        {
            let mut chunks = samples::openai_chunks(9, 3);
            let (half, rest) = (chunks[1].slice(..20), chunks[1].slice(20..));
            chunks.splice(1..2, [half, rest]);
            interrupted(chunks, 2, Step::Sleep(Duration::from_secs(20)))
        },
    ];
    let mut running = tokio::task::JoinSet::new();
    for steps in scripts {
        let Some(world) = world(Script::Stream("text/event-stream", steps)).await else { return };
        running.spawn(async move {
            let (_engine, _gateway, nginx, client) = world;
            let began = Instant::now();
            let answer = client.stream("/v1/chat/completions", &streaming()).await.whole().await;
            (answer, began.elapsed(), nginx.log())
        });
    }
    while let Some(ended) = running.join_next().await {
        let (answer, took, log) = ended.expect("no panic");
        let text = answer.text();
        assert!(answer.broken.is_none() && text.ends_with("data: [DONE]\n\n"), "{took:?}: {text}\n{log}");
        let pings = text.matches(": ping\n\n").count();
        let expected = if took > Duration::from_secs(60) { 4 } else { 0 };
        assert_eq!(pings, expected, "{took:?}: {text}");
        // What the engine sent is whole, with nothing within its events.
        let without = text.replace(": ping\n\n", "");
        assert!(
            without.split("\n\n").filter(|event| !event.is_empty()).all(|event| event.starts_with("data: "))
        );
        println!("{pings} pings in {took:.1?}");
    }
}
