//! Bytes go on as they come, unchanged, but for what the caller did not ask for.

use attach_tests::{
    Engine, Gateway, Issuer, Script,
    engine::{Step, samples},
    gateway::Setup,
};
use serde_json::{Value, json};

async fn world(script: Script) -> (Issuer, Engine, Gateway) {
    let issuer = Issuer::start().await;
    let engine = Engine::start(script).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    (issuer, engine, gateway)
}

fn asking_for_usage() -> Value {
    json!({"model": "tiny", "stream": true, "stream_options": {"include_usage": true}, "messages": []})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_chunk_reaches_the_caller_before_the_engine_sends_the_next() {
    for (path, content_type, chunks) in [
        ("/v1/chat/completions", "text/event-stream", samples::openai_chunks(9, 5)),
        ("/api/chat", "application/x-ndjson", samples::ollama_chunks(9, 5)),
        ("/v1/messages", "text/event-stream", samples::anthropic_chunks(9, 5)),
    ] {
        let mut steps = Vec::new();
        for chunk in &chunks {
            steps.extend([Step::Chunk(chunk.clone()), Step::Wait]);
        }
        steps.push(Step::End);
        let (issuer, engine, gateway) = world(Script::Stream(content_type, steps)).await;
        let alice = gateway.client().with_bearer(&issuer.token("alice"));
        let mut stream = alice.stream(path, &asking_for_usage()).await;
        let mut got = Vec::new();
        for sent in 1..=chunks.len() {
            let expected = chunks[..sent].concat();
            while got.len() < expected.len() {
                got.extend(stream.next().await.expect("a piece").expect("not the end"));
            }
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected));
            engine.go_on(1);
        }
        assert_eq!(stream.next().await, Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_forced_at_the_engine_and_hidden_from_a_caller_that_did_not_ask() {
    let (issuer, engine, gateway) = world(samples::openai_stream(9, 4)).await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));

    let not_asking = json!({"model": "tiny", "stream": true, "messages": []});
    let quiet = alice.stream("/v1/chat/completions", &not_asking).await.whole().await.text();
    let loud = alice.stream("/v1/chat/completions", &asking_for_usage()).await.whole().await.text();

    assert_eq!(engine.seen()[0].json()["stream_options"], json!({"include_usage": true}));
    assert!(!quiet.contains("usage"), "{quiet}");
    assert!(loud.contains("prompt_tokens"), "{loud}");
    assert_eq!(
        quiet,
        loud.split("\n\n").filter(|event| !event.contains("usage")).collect::<Vec<_>>().join("\n\n")
    );
    for event in gateway.wait_events(2).await {
        assert_eq!(attach_tests::gateway::quantity(&event, "output_tokens"), Some(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_reaches_the_engine_byte_for_byte() {
    let (issuer, engine, gateway) = world(samples::openai_chat(1, 1)).await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let odd = "{ \"messages\" :[{\"role\":\"user\",\"content\":\"\\u00e9 é \\n\"}],\t\"max_tokens\":5, \"model\":\"tiny\" ,\"x\":1e3}  ";
    alice.post_raw("/v1/chat/completions?a=1&a=2", odd).await;
    let [seen] = engine.seen().try_into().expect("one request");
    assert_eq!(String::from_utf8_lossy(&seen.body), odd);
    assert_eq!(seen.target, "/v1/chat/completions?a=1&a=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_in_one_piece_passes_whole_and_is_counted() {
    let mut body = samples::openai_chat_body(9, 4);
    body["data"] = json!("x".repeat(3 << 20));
    let (issuer, _engine, gateway) = world(Script::Json(200, body.clone())).await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let answer = alice.post("/v1/embeddings", &json!({"model": "tiny", "input": "x"})).await;
    assert_eq!(answer.json(), body);
    let events = gateway.wait_events(1).await;
    assert_eq!(attach_tests::gateway::quantity(&events[0], "input_tokens"), Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_the_engine_serves_many_requests_and_a_stale_one_none() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    // Each core has its own.
    let gateway = setup.with_argument("--workers").with_argument("1").start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let body = json!({"model": "tiny", "messages": []});
    for _ in 0..20 {
        assert_eq!(alice.post("/v1/chat/completions", &body).await.status, 200);
    }
    assert_eq!(engine.connections(), 1);
    // An engine that closes after each answer, without saying so.
    let text = samples::openai_chat_body(1, 1).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    engine.set(Script::Raw(vec![Step::Bytes(head.into()), Step::Close]));
    for _ in 0..20 {
        assert_eq!(alice.post("/v1/chat/completions", &body).await.status, 200);
    }
}

/// How an engine ends a connection on which a second request has come, without an answer to it.
#[derive(Clone, Copy)]
enum Ending {
    /// Closed before the request was read, which the kernel tells by a reset.
    Unread,
    /// Read, and closed at once.
    Read,
    /// Read, and closed in the middle of an answer's head.
    Half,
}

/// Serves one request on each connection, and ends it so at the second. Gives the requests that it read.
async fn closing_engine(ending: Ending) -> (u16, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let port = listener.local_addr().expect("bound").port();
    let read = Arc::new(AtomicUsize::new(0));
    let body = samples::openai_chat_body(1, 1).to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn({
        let read = Arc::clone(&read);
        async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (read, answer) = (Arc::clone(&read), answer.clone());
                tokio::spawn(async move {
                    let mut buffer = [0; 65_536];
                    // Each request of this test comes in one packet.
                    if stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                        read.fetch_add(1, Ordering::SeqCst);
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                    let _ = stream.readable().await;
                    if let Ending::Read | Ending::Half = ending {
                        let bytes = stream.read(&mut buffer).await.unwrap_or(0);
                        read.fetch_add(usize::from(bytes > 0), Ordering::SeqCst);
                    }
                    if let Ending::Half = ending {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-").await;
                    }
                });
            }
        }
    });
    (port, read)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_meets_a_closing_connection_is_sent_once_more_but_not_behind_the_beginning_of_an_answer()
 {
    use std::sync::atomic::Ordering;
    let body = json!({"model": "tiny", "messages": []});
    for (ending, status, requests_read) in
        [(Ending::Unread, 200, 2), (Ending::Read, 200, 3), (Ending::Half, 502, 2)]
    {
        let issuer = Issuer::start().await;
        let (port, read) = closing_engine(ending).await;
        let setup = Setup::new().with_issuer(&issuer).with("ENGINE_URL", &format!("http://127.0.0.1:{port}"));
        let gateway = setup.with_argument("--workers").with_argument("1").start().await;
        let alice = gateway.client().with_bearer(&issuer.token("alice"));
        assert_eq!(alice.post("/v1/chat/completions", &body).await.status, 200);
        assert_eq!(alice.post("/v1/chat/completions", &body).await.status, status);
        assert_eq!(read.load(Ordering::SeqCst), requests_read);
    }
}
