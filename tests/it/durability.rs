//! The end of an answer leaves when its usage is on the disk, and not before.

#![expect(clippy::expect_used, reason = "what helps a test fails it by panicking")]

use attach_tests::{
    Disk, Engine, Gateway, Issuer, Script,
    engine::{Step, samples},
    eventually,
    gateway::Setup,
};
use bytes::Bytes;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Long beside everything else that happens to an answer, short beside the second that its end waits at most.
const SLOW: Duration = Duration::from_millis(300);
/// Longer than an end waits.
const TOO_SLOW: Duration = Duration::from_millis(1500);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

struct Dialect {
    path: &'static str,
    content_type: &'static str,
    chunks: Vec<Bytes>,
    /// The caller asks for its usage, so that no chunk is hidden.
    asks_for_usage: bool,
    /// Stands in the last chunk alone.
    marker: &'static str,
    /// How a stream says that it failed.
    error: &'static str,
}

fn dialects() -> [Dialect; 4] {
    [
        Dialect {
            path: "/v1/chat/completions",
            content_type: "text/event-stream",
            chunks: samples::openai_chunks(9, 4),
            asks_for_usage: true,
            marker: "[DONE]",
            error: "data: {\"error\":",
        },
        Dialect {
            path: "/v1/chat/completions",
            content_type: "text/event-stream",
            chunks: samples::openai_chunks(9, 4),
            asks_for_usage: false,
            marker: "[DONE]",
            error: "data: {\"error\":",
        },
        Dialect {
            path: "/api/chat",
            content_type: "application/x-ndjson",
            chunks: samples::ollama_chunks(9, 4),
            asks_for_usage: true,
            marker: "\"done\":true",
            error: "{\"error\":",
        },
        Dialect {
            path: "/v1/messages",
            content_type: "text/event-stream",
            chunks: samples::anthropic_chunks(9, 4),
            asks_for_usage: true,
            marker: "message_stop",
            error: "event: error\n",
        },
    ]
}

impl Dialect {
    /// The end comes when the engine is told to go on.
    fn script(&self) -> Script {
        let mut steps: Vec<Step> = self.chunks.iter().cloned().map(Step::Chunk).collect();
        steps.insert(steps.len() - 1, Step::Wait);
        steps.push(Step::End);
        Script::Stream(self.content_type, steps)
    }

    fn before_the_end(&self) -> Vec<u8> {
        let chunks = self.chunks[..self.chunks.len() - 1].iter();
        let is_hidden =
            |chunk: &Bytes| !self.asks_for_usage && String::from_utf8_lossy(chunk).contains("usage");
        chunks.filter(|chunk| !is_hidden(chunk)).flat_map(|chunk| chunk.to_vec()).collect()
    }
}

struct World {
    issuer: Issuer,
    engine: Engine,
    disk: Disk,
    gateway: Gateway,
}

async fn world(durability: &str) -> World {
    let (issuer, engine, disk) =
        (Issuer::start().await, Engine::start(samples::openai_chat(9, 4)).await, Disk::new());
    let bundle = format!(
        "
tenants: [{{id: acme, durability: {durability}}}]
identity_providers: [{{issuer: '{}', audiences: [test-api]}}]
upstreams: [{{url: '{}'}}]
",
        issuer.url(),
        engine.url()
    );
    let gateway = Setup::new().with_disk(&disk).with_bundle(&bundle).start().await;
    World { issuer, engine, disk, gateway }
}

/// What of a stream came before the engine sent the end, what came then, and how long after.
struct Ended {
    rest: String,
    is_clean: bool,
    took: Duration,
}

impl World {
    fn alice(&self) -> attach_tests::Client {
        self.gateway.client().with_bearer(&self.issuer.token("alice"))
    }

    /// Reads a stream; all but its end must come before the engine is let to send the end.
    async fn stream(&self, dialect: &Dialect) -> Ended {
        self.engine.set(dialect.script());
        let body = json!({
            "model": "tiny", "stream": true, "stream_options": {"include_usage": dialect.asks_for_usage},
            "messages": [],
        });
        let mut stream = self.alice().stream(dialect.path, &body).await;
        let mut got = Vec::new();
        let expected = dialect.before_the_end();
        while got.len() < expected.len() {
            got.extend(stream.next().await.expect("a piece").expect("not the end"));
        }
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected));

        let sent = Instant::now();
        self.engine.go_on(1);
        let first = stream.next().await;
        let took = sent.elapsed();
        let rest = stream.whole().await;
        let mut text =
            first.clone().ok().flatten().map_or_else(String::new, |it| String::from_utf8_lossy(&it).into());
        text.push_str(&rest.text());
        Ended { rest: text, is_clean: first.is_ok() && rest.broken.is_none(), took }
    }

    async fn whole(&self) -> (attach_tests::Answer, Duration) {
        self.engine.set(samples::openai_chat(9, 4));
        let sent = Instant::now();
        let answer =
            self.alice().post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await;
        (answer, sent.elapsed())
    }

    /// An answer that is too large to be collected, and how long its last bytes took.
    async fn large(&self) -> (attach_tests::Answer, Duration) {
        let mut body = samples::openai_chat_body(9, 4);
        body["data"] = json!("x".repeat(2 << 20));
        self.engine.set(Script::Json(200, body));
        let sent = Instant::now();
        let answer = self.alice().post("/v1/embeddings", &json!({"model": "tiny", "input": "x"})).await;
        (answer, sent.elapsed())
    }

    async fn spool(&self) -> Value {
        self.gateway.admin().get("/readyz").await.json()["usage_spool"].clone()
    }

    /// The next request that is recorded, without anybody's help.
    async fn recovers(&self) {
        eventually("usage is recorded again", Duration::from_secs(10), async || {
            let (answer, _) = self.whole().await;
            let is_well = self.spool().await["error"].is_null();
            (answer.status == 200 && is_well).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_stream_waits_for_the_disk_and_its_content_does_not() {
    for dialect in dialects() {
        let world = world("DURABILITY_STRICT").await;
        world.disk.slow_down(SLOW);
        let ended = world.stream(&dialect).await;
        assert!(ended.took >= SLOW, "{}: the end came after {:?}", dialect.path, ended.took);
        assert!(ended.is_clean && ended.rest.contains(dialect.marker), "{}: {}", dialect.path, ended.rest);
        assert_eq!(world.gateway.events().len(), 1, "whoever has the end finds the event");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_waits_for_the_disk() {
    let world = world("DURABILITY_STRICT").await;
    world.disk.slow_down(SLOW);
    let (answer, took) = world.whole().await;
    assert_eq!(answer.status, 200);
    assert!(took >= SLOW, "it came after {took:?}");
    assert_eq!(world.gateway.events().len(), 1);
    let (answer, took) = world.large().await;
    assert!(answer.broken.is_none() && answer.json()["data"].as_str().map(str::len) == Some(2 << 20));
    assert!(took >= SLOW, "the large one ended after {took:?}");
    assert_eq!(world.gateway.events().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_recorded_ends_in_an_error_for_a_strict_tenant_until_the_disk_works_again() {
    // Each meets the disk's first failure.
    for dialect in dialects() {
        let world = world("DURABILITY_STRICT").await;
        world.disk.fail();
        let ended = world.stream(&dialect).await;
        assert!(ended.is_clean && ended.rest.contains(dialect.error), "{}: {:?}", dialect.path, ended.rest);
        assert!(!ended.rest.contains(dialect.marker), "{}: {}", dialect.path, ended.rest);
    }
    let large = world("DURABILITY_STRICT").await;
    large.disk.fail();
    assert!(large.large().await.0.broken.is_some(), "with its length promised, only the connection can tell");

    let world = world("DURABILITY_STRICT").await;
    world.disk.fail();
    for seen_by_the_engine in [1, 1] {
        let (answer, _) = world.whole().await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["code"].clone()),
            (503, json!("usage_not_recorded"))
        );
        assert!(answer.header("retry-after").is_some());
        assert_eq!(world.engine.seen().len(), seen_by_the_engine, "what can't be recorded is not begun");
    }
    // Long enough for some tries to repair it.
    tokio::time::sleep(SLOW).await;
    let ready = world.gateway.admin().get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());

    world.disk.mend();
    world.recovers().await;
    world.gateway.wait_events(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_neither_new_callers_nor_the_end_of_the_process() {
    let mut world = world("DURABILITY_STRICT").await;
    world.disk.slow_down(Duration::from_secs(300));
    let (first, took) = world.whole().await;
    assert_eq!(first.status, 503);
    assert!(took >= LONGEST_WAIT, "{took:?}");
    // By now it is known.
    for _ in 0..3 {
        let (next, took) = world.whole().await;
        assert_eq!(
            (next.status.as_u16(), next.json()["error"]["code"].clone()),
            (503, json!("usage_not_recorded"))
        );
        assert!(took < LONGEST_WAIT / 2, "{took:?}");
    }
    assert_eq!(world.engine.seen().len(), 1, "what can't be recorded is not begun");
    assert_eq!(world.spool().await["error"], "the disk of the usage spool does not answer");

    world.gateway.signal(Signal::SIGTERM);
    let status = world.gateway.wait_end(Duration::from_secs(40)).await;
    assert!(!status.success(), "it tells that something is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_recorded_reaches_a_relaxed_tenant_and_the_gap_is_counted() {
    let world = world("DURABILITY_RELAXED").await;
    world.disk.fail();
    for dialect in dialects() {
        let ended = world.stream(&dialect).await;
        assert!(ended.is_clean && ended.rest.contains(dialect.marker), "{}: {}", dialect.path, ended.rest);
    }
    assert_eq!(world.whole().await.0.status, 200);
    let spool = world.spool().await;
    assert_eq!(spool["refused"], 5, "{spool}");
    assert!(spool["error"].is_string(), "{spool}");

    world.disk.mend();
    eventually("the disk is found to work", Duration::from_secs(10), async || {
        world.spool().await["error"].is_null().then_some(())
    })
    .await;
    assert_eq!(world.whole().await.0.status, 200);
    world.gateway.wait_events(1).await;
}

#[tokio::test]
async fn an_end_waits_a_second_and_then_a_strict_tenant_gets_an_error_and_a_relaxed_one_the_bytes() {
    let stream = async |is_strict: bool, dialect: Dialect| {
        let world = world(if is_strict { "DURABILITY_STRICT" } else { "DURABILITY_RELAXED" }).await;
        world.disk.slow_down(TOO_SLOW);
        let ended = world.stream(&dialect).await;
        let expected = if is_strict { dialect.error } else { dialect.marker };
        assert!(ended.is_clean && ended.rest.contains(expected), "{}: {}", dialect.path, ended.rest);
        assert_eq!(ended.rest.contains(dialect.marker), !is_strict, "{}: {}", dialect.path, ended.rest);
        assert!((LONGEST_WAIT..TOO_SLOW).contains(&ended.took), "{}: {:?}", dialect.path, ended.took);
    };
    let whole = async |is_strict: bool| {
        let world = world(if is_strict { "DURABILITY_STRICT" } else { "DURABILITY_RELAXED" }).await;
        world.disk.slow_down(TOO_SLOW);
        let (answer, took) = world.whole().await;
        assert_eq!(answer.status, if is_strict { 503 } else { 200 });
        assert!((LONGEST_WAIT..TOO_SLOW).contains(&took), "{took:?}");
    };
    // Side by side, for each takes a second.
    for is_strict in [true, false] {
        let [openai, hiding, ollama, anthropic] = dialects();
        tokio::join!(
            stream(is_strict, openai),
            stream(is_strict, hiding),
            stream(is_strict, ollama),
            stream(is_strict, anthropic),
            whole(is_strict),
        );
    }
}
