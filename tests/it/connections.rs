//! Callers that are slow, many, or behind proxies.

use attach_tests::{Engine, Gateway, Script, gateway::Setup};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

const KEY: &str = "sk-test-0123456789";
const PATIENCE: Duration = Duration::from_secs(20);

fn setup(engine: &Engine) -> Setup {
    Setup::new().with_keys(&[KEY]).with_engine(engine).with("MAX_TOKENS_PER_MIN", "none")
}

fn chat(marker: &str) -> Value {
    json!({"model": "tiny", "messages": [{"role": "user", "content": marker}]})
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens")
}

/// What comes on a connection until it is closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    // A reset ends it as well as an orderly end.
    let _ = read.expect("closed in time");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_may_be_are_turned_away_and_the_others_go_on() {
    let engine = Engine::start(Script::Echo).await;
    for (limit, status) in [("--max-connections", "503"), ("--max-connections-per-client", "429")] {
        let gateway = setup(&engine).with_argument(limit).with_argument("3").start().await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = connect(&gateway).await;
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
            stream.read_exact(&mut [0; 12]).await.expect("an answer");
            held.push(stream);
        }
        let answer = rest(&mut connect(&gateway).await).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("retry-after"),
            "{answer}"
        );
        held.clear();
        attach_tests::eventually("a place is free again", PATIENCE, async || {
            let answer = gateway.client().try_send(http::Method::GET, "/health", "").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        assert!(gateway.admin().get("/metrics").await.text().contains("attach_connections_refused_total"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_trusted_has_no_share_of_its_own_and_says_for_whom_it_calls() {
    let engine = Engine::start(Script::Echo).await;
    let setup = setup(&engine).with_argument("--max-connections-per-client").with_argument("1");
    let gateway = setup.with("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8").start().await;
    let _held = [connect(&gateway).await, connect(&gateway).await];
    let proxy =
        gateway.client().with_bearer(KEY).with_header("x-forwarded-for", "1.1.1.1, 2001:db8::7, 10.0.0.9");
    assert_eq!(proxy.post("/v1/chat/completions", &chat("x")).await.status, 200);
    assert_eq!(proxy.get("/no/such/route").await.status, 404);
    let lines = attach_tests::eventually("two lines", PATIENCE, async || {
        let log = gateway.access_log();
        (log.lines().count() == 2).then_some(log)
    })
    .await;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["client"], "2001:db8::7", "{line}");
    }
    assert!(engine.seen()[0].header("x-forwarded-for").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_says_for_whom_it_calls() {
    let engine = Engine::start(Script::Echo).await;
    let gateway = setup(&engine).start().await;
    let caller = gateway.client().with_bearer(KEY).with_header("x-forwarded-for", "1.1.1.1");
    assert_eq!(caller.post("/v1/chat/completions", &chat("x")).await.status, 200);
    attach_tests::eventually("the line", PATIENCE, async || {
        gateway.access_log().contains("\"client\":\"127.0.0.1\"").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unspecified_address_of_ipv6_takes_callers_of_both_kinds() {
    let engine = Engine::start(Script::Echo).await;
    let gateway = setup(&engine).with_host("::").start().await;
    for address in ["127.0.0.1", "[::1]"] {
        let address: SocketAddr = format!("{address}:{}", gateway.port).parse().expect("an address");
        let Ok(mut stream) = TcpStream::connect(address).await else {
            eprintln!("SKIPPED: {address} can't be reached on this machine");
            continue;
        };
        let request = format!(
            "GET /api/tags HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    attach_tests::eventually("the line of IPv4", PATIENCE, async || {
        gateway.access_log().contains("\"client\":\"127.0.0.1\"").then_some(())
    })
    .await;
}

/// 250 connections that drip a head, and as many that stop within a body.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for half a minute; tests/run all"]
async fn five_hundred_slow_callers_are_let_go_in_time_and_no_honest_one_is_harmed() {
    let engine = Engine::start(Script::Echo).await;
    let gateway = setup(&engine).start().await;
    let before = gateway.resident_kib();
    let mut slow = JoinSet::new();
    for number in 0..500 {
        let mut stream = connect(&gateway).await;
        let is_head = number % 2 == 0;
        slow.spawn(async move {
            let began = Instant::now();
            if is_head {
                let head = format!("GET /api/tags HTTP/1.1\r\nHost: x\r\nX-Padding: {}", "x".repeat(8000));
                stream.write_all(head.as_bytes()).await.expect("it reads");
            } else {
                let head = format!(
                    "POST /api/chat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 9000\r\n\r\n{}",
                    "x".repeat(8000)
                );
                stream.write_all(head.as_bytes()).await.expect("it reads");
            }
            let mut answer = [0; 1024];
            loop {
                match tokio::time::timeout(Duration::from_secs(2), stream.read(&mut answer)).await {
                    Ok(Ok(1..)) => {}
                    Ok(_) => return (is_head, began.elapsed()),
                    // It drips on, as long as it is a head.
                    Err(_) if is_head => {
                        let _ = stream.write_all(b"x").await;
                    }
                    Err(_) => {}
                }
                assert!(began.elapsed() < Duration::from_secs(120), "never let go");
            }
        });
    }
    let (mut honest, mut slowest, mut peak) = (0, Duration::ZERO, before);
    let (mut heads, mut bodies) = (Vec::new(), Vec::new());
    while !slow.is_empty() {
        let asked = Instant::now();
        let marker = format!("honest {honest}");
        let answer = gateway.client().with_bearer(KEY).post("/v1/chat/completions", &chat(&marker)).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], marker.as_str());
        honest += 1;
        slowest = slowest.max(asked.elapsed());
        peak = peak.max(gateway.resident_kib());
        while let Some(ended) = slow.try_join_next() {
            let (is_head, after) = ended.expect("no panic");
            if is_head { &mut heads } else { &mut bodies }.push(after);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let range = |times: &[Duration]| (*times.iter().min().expect("some"), *times.iter().max().expect("some"));
    let (heads, bodies) = (range(&heads), range(&bodies));
    println!(
        "500 slow callers: heads let go after {heads:.1?}, bodies after {bodies:.1?}; {honest} honest requests meanwhile, the \
         slowest {slowest:.1?}; memory {before} KiB before, {peak} KiB at most"
    );
    assert!(heads.0 > Duration::from_secs(5) && heads.1 < Duration::from_secs(50));
    assert!(bodies.0 > Duration::from_secs(20) && bodies.1 < Duration::from_secs(150));
    assert!(peak - before < 100 << 10, "{peak} KiB");
    assert!(engine.seen().len() == honest);
}

/// Its buffers are as small as they can be, so that the answer does not fit in them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for half a minute; tests/run all"]
async fn a_caller_that_takes_nothing_of_its_answer_is_let_go_and_frees_the_engine() {
    let piece = bytes::Bytes::from(format!("data: {}\n\n", json!({"choices": [], "x": "y".repeat(60_000)})));
    let pieces = vec![attach_tests::engine::Step::Chunk(piece); 400];
    let engine = Engine::start(Script::Stream("text/event-stream", pieces)).await;
    let gateway = setup(&engine).start().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small one");
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.port));
    let mut stream = socket.connect(address).await.expect("it listens");
    let body = json!({"model": "tiny", "messages": [], "stream": true}).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let began = Instant::now();
    engine.wait_abandoned(Duration::from_secs(150)).await;
    println!("the engine was free again after {:.1?}", began.elapsed());
    assert!(began.elapsed() > Duration::from_secs(20));
    drop(stream);
}
