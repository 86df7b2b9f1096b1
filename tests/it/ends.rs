//! However a request ends, there is exactly one event with the right outcome, the reservation is back, and nobody takes
//! a broken answer for a whole one.

use attach_tests::{
    Engine, Gateway, Issuer, Script,
    engine::{Step, samples, tokens},
    gateway::{Setup, quantity},
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

struct World {
    issuer: Issuer,
    engine: Engine,
    gateway: Gateway,
}

const LIMIT: u64 = 10_000;

async fn world(script: Script) -> World {
    let issuer = Issuer::start().await;
    let engine = Engine::start(script).await;
    let digest = "0".repeat(64);
    let gateway = Setup::new()
        .with_bundle(&format!(
            "
identity_providers: [{{issuer: '{}', audiences: [test-api]}}]
keys: [{{sha256: '{digest}'}}]
limits: [{{counter: COUNTER_EACH_PRINCIPAL, measure: MEASURE_TOTAL_TOKENS, window: 3600s, amount: {LIMIT}}}]
upstreams: [{{url: '{}', timeouts: {{first_byte: 1s, between_bytes: 1s}}}}]
",
            issuer.url(),
            engine.url()
        ))
        .start()
        .await;
    World { issuer, engine, gateway }
}

impl World {
    fn alice(&self) -> attach_tests::Client {
        self.gateway.client().with_bearer(&self.issuer.token("alice"))
    }

    /// One event with this outcome; and what alice has left is the limit less what the event says.
    async fn settled(&self, outcome: &str) -> Value {
        let [event] = self.gateway.wait_events(1).await.try_into().expect("exactly one event");
        assert_eq!(event["outcome"], outcome, "{event:#}");
        let consumed =
            quantity(&event, "input_tokens").unwrap_or(0) + quantity(&event, "output_tokens").unwrap_or(0);
        self.engine.set(samples::openai_chat(0, 0));
        let probe = self
            .alice()
            .post("/v1/chat/completions", &json!({"model": "m", "messages": [], "max_tokens": 1}))
            .await;
        let remaining: u64 =
            probe.header("x-ratelimit-remaining-tokens").expect("a header").parse().expect("a number");
        // The probe itself reserves its one token and the estimate of its empty list.
        assert_eq!(remaining, LIMIT - consumed - 2, "nothing stays reserved");
        event
    }
}

fn streaming() -> Value {
    json!({"model": "tiny", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}

fn whole() -> Value {
    json!({"model": "tiny", "stream": false, "messages": [{"role": "user", "content": "hi"}]})
}

/// The path, the body's type and the chunks of a stream in each dialect.
fn dialects() -> [(&'static str, &'static str, Vec<Bytes>); 3] {
    [
        ("/v1/chat/completions", "text/event-stream", samples::openai_chunks(9, 4)),
        ("/api/chat", "application/x-ndjson", samples::ollama_chunks(9, 4)),
        ("/v1/messages", "text/event-stream", samples::anthropic_chunks(9, 4)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_stream_is_counted_as_the_engine_says() {
    for (path, content_type, chunks) in dialects() {
        let world = world(samples::stream(content_type, chunks)).await;
        let answer = world.alice().stream(path, &streaming()).await.whole().await;
        assert_eq!((answer.status.as_u16(), answer.broken.clone()), (200, None));
        let event = world.settled("OUTCOME_COMPLETE").await;
        assert_eq!(quantity(&event, "input_tokens"), Some(9), "{path}");
        assert_eq!(quantity(&event, "output_tokens"), Some(4), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_answer_in_one_piece_is_counted_as_the_engine_says() {
    let world = world(samples::openai_chat(9, 4)).await;
    let answer = world.alice().post("/v1/chat/completions", &whole()).await;
    assert_eq!(answer.status, 200);
    let event = world.settled("OUTCOME_COMPLETE").await;
    assert_eq!(quantity(&event, "output_tokens"), Some(4));
    assert_eq!(event["principal"]["subject"], "alice");
    assert_eq!(event["http_status"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_before_the_answer_frees_the_engine() {
    let world = world(Script::Raw(vec![Step::Wait])).await;
    let alice = world.alice();
    let request = tokio::spawn(async move { alice.post("/v1/chat/completions", &whole()).await });
    attach_tests::eventually("the engine has it", Duration::from_secs(5), async || {
        (!world.engine.seen().is_empty()).then_some(())
    })
    .await;
    request.abort();
    let _ = request.await;
    world.engine.wait_abandoned(Duration::from_secs(1)).await;
    let event = world.settled("OUTCOME_CLIENT_GONE").await;
    assert_eq!(event["measures"].as_array().map_or(0, Vec::len), 0, "nothing was generated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_mid_stream_frees_the_engine_and_pays_for_what_came() {
    for (path, content_type, chunks) in dialects() {
        let mut steps: Vec<Step> = chunks[..4].iter().cloned().map(Step::Chunk).collect();
        steps.push(Step::Wait);
        let world = world(Script::Stream(content_type, steps)).await;
        let mut stream = world.alice().stream(path, &streaming()).await;
        let mut text = Vec::new();
        while tokens(&String::from_utf8_lossy(&text)) < 2 {
            text.extend(stream.next().await.expect("a piece").expect("not the end"));
        }
        drop(stream);
        world.engine.wait_abandoned(Duration::from_secs(1)).await;
        let event = world.settled("OUTCOME_CLIENT_GONE").await;
        let output = quantity(&event, "output_tokens").expect("an estimate");
        assert!((2..=4).contains(&output), "{path}: {output}");
        assert!(event.to_string().contains("MEASURE_SOURCE_ESTIMATED"), "{event:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_an_answer_in_one_piece_frees_the_engine() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let world = world(Script::Raw(vec![Step::Bytes(head.into()), Step::Wait])).await;
    let alice = world.alice();
    let request = tokio::spawn(async move { alice.post("/v1/chat/completions", &whole()).await });
    attach_tests::eventually("the engine has it", Duration::from_secs(5), async || {
        (!world.engine.seen().is_empty()).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    request.abort();
    let _ = request.await;
    world.engine.wait_abandoned(Duration::from_secs(1)).await;
    world.settled("OUTCOME_CLIENT_GONE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_answers_with_an_error_costs_nothing_and_its_words_reach_the_caller() {
    for status in [400, 404, 500, 503] {
        let world = world(Script::Json(status, json!({"error": {"message": "no", "type": "x"}}))).await;
        let answer = world.alice().post("/v1/chat/completions", &streaming()).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.json()["error"]["message"], "no");
        let event = world.settled("OUTCOME_ENGINE_ERROR").await;
        assert_eq!(event["measures"].as_array().map_or(0, Vec::len), 0);
        assert_eq!(event["attempts"][0]["http_status"], status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_mid_stream_never_looks_like_a_clean_end() {
    // Each way in which a stream can stop short: the connection drops, is reset, or the body simply ends.
    for last in [Step::Close, Step::Reset, Step::End] {
        for (path, content_type, chunks) in dialects() {
            let mut steps: Vec<Step> = chunks[..4].iter().cloned().map(Step::Chunk).collect();
            steps.push(Step::Sleep(Duration::from_millis(50)));
            steps.push(last.clone());
            let world = world(Script::Stream(content_type, steps)).await;
            let answer = world.alice().stream(path, &streaming()).await.whole().await;
            let text = answer.text();
            assert!(text.contains("error"), "{path} {last:?}: {text}");
            for marker in ["[DONE]", "\"done\":true", "message_stop"] {
                assert!(!text.contains(marker), "{path} {last:?}: {text}");
            }
            for line in text.lines().filter(|line| path == "/api/chat" && !line.is_empty()) {
                serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
            let event = world.settled("OUTCOME_ENGINE_ERROR").await;
            assert!(quantity(&event, "output_tokens").is_some_and(|tokens| tokens >= 1), "{event:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_says_error_mid_stream_is_passed_on_and_counted_as_a_failure() {
    let last: [&[&'static str]; 3] = [
        // vLLM ends such a stream as if all were well.
        &["data: {\"error\":{\"message\":\"no\",\"code\":500}}\n\n", "data: [DONE]\n\n"],
        &["{\"error\":\"an error was encountered while running the model: unexpected EOF\"}\n"],
        &[
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"no\"}}\n\n",
        ],
    ];
    for ((path, content_type, chunks), last) in dialects().into_iter().zip(last) {
        let mut steps: Vec<Step> = chunks[..3].iter().cloned().map(Step::Chunk).collect();
        steps.extend(last.iter().map(|text| Step::Chunk(Bytes::from_static(text.as_bytes()))));
        steps.push(Step::End);
        let world = world(Script::Stream(content_type, steps)).await;
        let answer = world.alice().stream(path, &streaming()).await.whole().await;
        assert!(answer.text().contains(last[0]), "{path}: {}", answer.text());
        world.settled("OUTCOME_ENGINE_ERROR").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_under_a_good_status_is_a_failure_too() {
    let world = world(Script::Json(200, json!({"error": {"message": "no", "type": "x"}}))).await;
    let answer = world.alice().post("/v1/chat/completions", &whole()).await;
    assert_eq!(answer.json()["error"]["message"], "no");
    world.settled("OUTCOME_ENGINE_ERROR").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_kills_its_engine_is_not_sent_again_and_is_told_in_one_line() {
    let world = world(samples::openai_chat(0, 0)).await;
    let alice = world.alice().with_header("x-request-id", "fatal");
    alice.post("/v1/chat/completions", &whole()).await;
    // On a connection that has served before.
    world.engine.set(Script::Raw(vec![Step::Sleep(Duration::from_millis(300)), Step::Close]));
    let answer = alice.post("/v1/chat/completions", &whole()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
        (502, Some("engine_failed"))
    );
    assert_eq!(world.engine.seen().len(), 2);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let lines = world.gateway.access_log();
    assert_eq!(
        lines.lines().filter(|line| line.contains("\"fatal\"")).count(),
        2,
        "one for each request: {lines}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_breaks_off_an_answer_in_one_piece_is_a_502() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":";
    let world = world(Script::Raw(vec![Step::Bytes(head.into()), Step::Close])).await;
    let answer = world.alice().post("/v1/chat/completions", &whole()).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["code"], "engine_failed");
    world.settled("OUTCOME_ENGINE_ERROR").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_keeps_silent_is_a_504() {
    let world = world(Script::Raw(vec![Step::Wait])).await;
    let answer = world.alice().post("/v1/chat/completions", &whole()).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.json()["error"]["code"], "engine_timeout");
    world.settled("OUTCOME_TIMED_OUT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_falls_silent_mid_stream_ends_in_an_error() {
    for (path, content_type, chunks) in dialects() {
        let mut steps: Vec<Step> = chunks[..4].iter().cloned().map(Step::Chunk).collect();
        steps.push(Step::Wait);
        let world = world(Script::Stream(content_type, steps)).await;
        let answer = world.alice().stream(path, &streaming()).await.whole().await;
        assert!(answer.text().contains("error"), "{path}: {}", answer.text());
        world.engine.wait_abandoned(Duration::from_secs(1)).await;
        world.settled("OUTCOME_TIMED_OUT").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_a_502() {
    let world = world(samples::openai_chat(1, 1)).await;
    let World { issuer, engine, gateway } = world;
    let url = engine.url();
    drop(engine);
    attach_tests::eventually("the engine's port is closed", Duration::from_secs(5), async || {
        let address = url.trim_start_matches("http://").to_owned();
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let answer = alice.post("/v1/chat/completions", &whole()).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["code"], "engine_unreachable");
    let events = gateway.wait_events(1).await;
    assert_eq!(events[0]["outcome"], "OUTCOME_ENGINE_ERROR");
    assert_eq!(gateway.admin().get("/readyz").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_with_a_byte_too_much_behind_its_request_frees_the_engine_too() {
    use tokio::io::AsyncWriteExt as _;
    let world = world(Script::Raw(vec![Step::Sleep(Duration::from_secs(30))])).await;
    let body = whole().to_string();
    let mut stream =
        tokio::net::TcpStream::connect(("127.0.0.1", world.gateway.port)).await.expect("it listens");
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}\r\n",
        world.issuer.token("alice"),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    attach_tests::eventually("the engine has it", Duration::from_secs(5), async || {
        (!world.engine.seen().is_empty()).then_some(())
    })
    .await;
    drop(stream);
    // A second, and as much for a busy machine.
    world.engine.wait_abandoned(Duration::from_secs(2)).await;
}

/// What a caller gets that speaks a version of HTTP by hand, to the connection's end.
async fn by_hand(world: &World, version: &str) -> std::io::Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = whole().to_string();
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", world.gateway.port)).await?;
    let request = format!(
        "POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n{body}",
        world.issuer.token("alice"),
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_that_breaks_off_ends_in_a_reset_where_its_end_would_look_whole() {
    // Larger than what is collected, so it passes as it comes; of HTTP/1.0 the end of the connection is its end.
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n";
    let begun = format!("{head}{{\"data\":\"{}", "x".repeat(2_000_000));
    let world = world(Script::Raw(vec![
        Step::Bytes(begun.into()),
        Step::Sleep(Duration::from_millis(200)),
        Step::Close,
    ]))
    .await;
    let broken = by_hand(&world, "1.0").await.expect_err("no clean end");
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    world.settled("OUTCOME_ENGINE_ERROR").await;
}
