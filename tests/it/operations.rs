//! Stopping, reloading, crashing, and what is written down on the way.

use attach_tests::{
    Engine, Issuer, Script,
    engine::{Step, samples},
    eventually,
    gateway::Setup,
};
use bytes::Bytes;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

fn streaming() -> Value {
    json!({"model": "tiny", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_finishes_its_streams_first() {
    let issuer = Issuer::start().await;
    let mut steps: Vec<Step> = samples::openai_chunks(9, 4).into_iter().map(Step::Chunk).collect();
    steps.insert(2, Step::Wait);
    steps.push(Step::End);
    let engine = Engine::start(Script::Stream("text/event-stream", steps)).await;
    let mut gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let mut stream = alice.stream("/v1/chat/completions", &streaming()).await;
    stream.next().await.expect("a piece").expect("not the end");

    gateway.signal(Signal::SIGTERM);
    eventually("no new connections are taken", Duration::from_secs(5), async || {
        alice.try_send(http::Method::GET, "/health", "").await.is_err().then_some(())
    })
    .await;
    engine.go_on(1);
    let rest = stream.whole().await;

    assert!(rest.broken.is_none() && rest.text().ends_with("data: [DONE]\n\n"), "{}", rest.text());
    let status = gateway.wait_end(Duration::from_secs(5)).await;
    assert!(status.success(), "{status}: {}", gateway.log());
    assert_eq!(gateway.events().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_bundle_acts_within_a_second_and_a_broken_one_not_at_all() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(50, 50)).await;
    let bundle = |amount: &str| {
        format!(
            "
identity_providers: [{{issuer: '{}', audiences: [test-api]}}]
limits: [{{counter: COUNTER_SHARED, measure: MEASURE_REQUESTS, window: 3600s, amount: {amount}}}]
upstreams: [{{url: '{}'}}]
",
            issuer.url(),
            engine.url()
        )
    };
    let setup = Setup::new().with_bundle(&bundle("1"));
    let gateway = setup.start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let chat = json!({"model": "tiny", "messages": []});
    assert_eq!(alice.post("/v1/chat/completions", &chat).await.status, 200);
    assert_eq!(alice.post("/v1/chat/completions", &chat).await.status, 429);

    setup.file("bundle.yaml", &bundle("oops"));
    eventually("the mistake is told", Duration::from_secs(5), async || {
        gateway.log().contains("limits[0].amount").then_some(())
    })
    .await;
    assert_eq!(alice.post("/v1/chat/completions", &chat).await.status, 429, "the last good one serves on");

    setup.file("bundle.yaml", &bundle("2"));
    eventually("the new limit acts", Duration::from_secs(5), async || {
        (alice.post("/v1/chat/completions", &chat).await.status == 200).then_some(())
    })
    .await;
}

/// What became of one caller's requests until its gateway was killed.
#[derive(Default)]
struct Requests {
    streams: Vec<String>,
    wholes: Vec<String>,
    /// Streams that had begun and did not come to their end.
    cut_off: usize,
}

/// One request after another, each with an id of its own. The caller may act on an answer as soon as it has the end
/// marker, or the whole of an answer in one piece: only these are counted.
async fn ask_until_killed(client: attach_tests::Client, caller: String, is_streaming: bool) -> Requests {
    let mut requests = Requests::default();
    let body = if is_streaming { streaming() } else { json!({"model": "tiny", "messages": []}) };
    for n in 0.. {
        let id = format!("{caller}-n{n}");
        let client = client.clone().with_header("x-request-id", &id);
        let sent = client.try_send(http::Method::POST, "/v1/chat/completions", body.to_string()).await;
        let Ok(stream) = sent else { break };
        let answer = stream.whole().await;
        let has_marker = answer.text().contains("data: [DONE]");
        if is_streaming && has_marker {
            requests.streams.push(id);
        } else if is_streaming {
            requests.cut_off += usize::from(answer.status == 200 && !answer.body.is_empty());
        } else if answer.status == 200 && answer.broken.is_none() {
            assert_eq!(answer.json(), samples::openai_chat_body(9, 3));
            requests.wholes.push(id);
        }
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_every_completed_answer_has_its_event_and_none_has_two() {
    const KILLS: u64 = 50;
    let issuer = Issuer::start().await;
    let engine = Engine::start(Script::AsAsked {
        stream: Box::new(slowly(&samples::openai_chunks(9, 3))),
        whole: Box::new(samples::openai_chat(9, 3)),
    })
    .await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine).with("MAX_TOKENS_PER_MIN", "none");
    let mut gateway = setup.start().await;
    let token = issuer.token("alice");
    let (mut completed, mut streams, mut wholes, mut cut_off) = (HashSet::new(), 0, 0, 0);
    for round in 0..KILLS {
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let client = gateway.client().with_bearer(&token);
                tokio::spawn(ask_until_killed(client, format!("r{round}-c{caller}"), caller % 2 == 0))
            })
            .collect();
        // The standard library seeds each of these hashers at random.
        let moment = RandomState::new().build_hasher().finish() % 100_000;
        tokio::time::sleep(Duration::from_micros(moment)).await;
        let restarted = gateway.restart_after_kill().await;
        for caller in callers {
            let requests = caller.await.expect("no panic");
            streams += requests.streams.len();
            wholes += requests.wholes.len();
            cut_off += requests.cut_off;
            completed.extend(requests.streams.into_iter().chain(requests.wholes));
        }
        gateway = restarted;
    }
    let mut recorded = HashMap::new();
    for event in gateway.events() {
        let id = event["request_id"].as_str().expect("an id").to_owned();
        let earlier = recorded.insert(id, event["outcome"].clone());
        assert!(earlier.is_none(), "an event twice: {event}");
    }
    println!(
        "{KILLS} kills: {streams} streams and {wholes} whole answers completed, {cut_off} streams cut off, {} events",
        recorded.len()
    );
    let lost: Vec<_> =
        completed.iter().filter(|id| recorded.get(*id) != Some(&json!("OUTCOME_COMPLETE"))).collect();
    let lost: Vec<_> = lost.iter().map(|id| (id, recorded.get(id.as_str()))).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(streams > 100 && wholes > 100 && cut_off > 10, "the test did something");
}

/// With a pause before each chunk, so that a kill meets streams in all their stages.
fn slowly(chunks: &[Bytes]) -> Script {
    let steps =
        chunks.iter().flat_map(|chunk| [Step::Sleep(Duration::from_millis(2)), Step::Chunk(chunk.clone())]);
    Script::Stream("text/event-stream", steps.chain([Step::End]).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_and_answers_are_written_nowhere() {
    let issuer = Issuer::start().await;
    let canary = "zanzibar-canary-7731";
    let mut body = samples::openai_chat_body(1, 1);
    body["choices"][0]["message"]["content"] = json!(canary);
    let engine = Engine::start(Script::Json(200, body)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine).with("RUST_LOG", "trace");
    let gateway = setup.start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let chat = json!({"model": "tiny", "messages": [{"role": "user", "content": canary}]});
    assert!(alice.post("/v1/chat/completions", &chat).await.text().contains(canary));
    alice.post_raw("/v1/chat/completions", format!("{{\"messages\": \"{canary}\"")).await;
    gateway.wait_events(1).await;
    gateway.signal(Signal::SIGTERM);
    tokio::time::sleep(Duration::from_millis(500)).await;

    let mut looked_at = 0;
    let mut folders = vec![setup.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // A socket has no bytes of its own.
            if !path.is_file() {
                continue;
            }
            looked_at += 1;
            let bytes = std::fs::read(&path).expect("a file");
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds the prompt or the answer", path.display());
        }
    }
    assert!(looked_at > 3, "logs and spool were looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_tells_who_when_what_and_how_much_in_one_line() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(11, 7)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice")).with_header("x-request-id", "line-1");
    alice.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await;
    gateway.client().with_header("x-request-id", "line-2").get("/api/tags").await;

    let lines = eventually("two lines", Duration::from_secs(5), async || {
        let lines: Vec<Value> = gateway
            .access_log()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON lines"))
            .collect();
        (lines.len() >= 2).then_some(lines)
    })
    .await;
    let line = |id: &str| lines.iter().find(|line| line["request_id"] == id).expect("a line").clone();
    let served = line("line-1");
    for (name, value) in [
        ("decision", json!("complete")),
        ("status", json!(200)),
        ("principal", json!("alice")),
        ("operation", json!("chat")),
        ("model", json!("tiny")),
        ("input_tokens", json!(11)),
        ("output_tokens", json!(7)),
    ] {
        assert_eq!(served[name], value, "{name}: {served}");
    }
    assert!(served["duration_ms"].is_number() && served["time"].is_string());
    assert_eq!(line("line-2")["decision"], "missing_credential");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_metrics_and_the_usage_table() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(11, 7)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    for user in ["alice", "alice", "bob"] {
        let client = gateway.client().with_bearer(&issuer.token(user));
        client.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await;
    }
    gateway.wait_events(3).await;

    let metrics = gateway.admin().get("/metrics").await.text();
    let expected =
        r#"attach_usage_tokens_total{user="alice",direction="out",model="tiny",tenant="default"} 14"#;
    assert!(metrics.contains(expected), "{metrics}");
    let table = String::from_utf8(gateway.command(&["usage"]).stdout).expect("UTF-8");
    assert!(
        table.lines().any(|line| line.contains("alice") && line.contains("22") && line.contains("14")),
        "{table}"
    );
    let ready = gateway.admin().get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()["engines"][0]["reachable"].as_bool()), (200, Some(true)));
    // On the callers' port everybody sees only what is theirs.
    let bob = gateway.client().with_bearer(&issuer.token("bob")).get("/metrics").await.text();
    assert!(bob.contains("\"bob\"") && !bob.contains("alice"), "{bob}");
    assert_eq!(gateway.client().get("/metrics").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_bundle_never_acts() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let start = format!(
        "identity_providers: [{{issuer: '{}', audiences: [test-api]}}]\nupstreams: [{{url: '{}'}}]\n",
        issuer.url(),
        engine.url()
    );
    let whole = format!(
        "{start}limits: [{{counter: COUNTER_SHARED, measure: MEASURE_REQUESTS, window: 3600s, amount: 1}}]\n"
    );
    let setup = Setup::new().with_bundle(&whole);
    let gateway = setup.start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let chat = json!({"model": "tiny", "messages": []});
    assert_eq!(alice.post("/v1/chat/completions", &chat).await.status, 200);
    // Written in pieces, as by a slow copy: every piece is a valid bundle, and none but the last has the limit.
    for length in start.len()..=whole.len() {
        setup.file("bundle.yaml", &whole[..length]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(alice.post("/v1/chat/completions", &chat).await.status, 429);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tells_it_to_stop_twice_need_not_wait_for_open_streams() {
    let issuer = Issuer::start().await;
    let mut steps: Vec<Step> = samples::openai_chunks(9, 4).into_iter().map(Step::Chunk).collect();
    steps.insert(2, Step::Wait);
    let engine = Engine::start(Script::Stream("text/event-stream", steps)).await;
    let mut gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let mut stream = alice.stream("/v1/chat/completions", &streaming()).await;
    stream.next().await.expect("a piece").expect("not the end");

    gateway.signal(Signal::SIGTERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    gateway.signal(Signal::SIGINT);

    gateway.wait_end(Duration::from_secs(5)).await;
    assert!(!stream.whole().await.text().contains("[DONE]"));
    assert_eq!(gateway.events().len(), 1, "what came is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_does_not_hold_up_the_end() {
    use tokio::io::AsyncWriteExt as _;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let mut gateway = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine).start().await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nHos").await.expect("written");
    tokio::time::sleep(Duration::from_millis(200)).await;

    gateway.signal(Signal::SIGTERM);

    assert!(gateway.wait_end(Duration::from_secs(5)).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_becomes_a_pipe_stops_nothing() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine);
    let mut gateway = setup.start().await;
    let file = setup.folder().join("keys.json");
    std::fs::remove_file(&file).expect("it was there");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    eventually("it is told", Duration::from_secs(5), async || {
        gateway.log().contains("no regular file").then_some(())
    })
    .await;
    assert_eq!(gateway.admin().get("/livez").await.status, 200);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_end(Duration::from_secs(5)).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_access_log_nothing_is_written_and_a_refusal_can_be_explained_all_the_same() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(11, 7)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with_argument("--access-log").with_argument("off").start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    alice.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await;
    gateway.client().with_header("x-request-id", "refused-1").get("/api/tags").await;
    eventually("it is explained", Duration::from_secs(5), async || {
        let output = gateway.command(&["explain", "refused-1"]);
        String::from_utf8_lossy(&output.stdout).contains("missing_credential").then_some(())
    })
    .await;
    assert_eq!(gateway.access_log(), "");
}
