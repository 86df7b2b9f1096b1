//! HTTP/1 as attackers write it: the engine never sees what no caller was authorised for, and the next honest request on
//! the same connections to the engine gets its own answer.

mod cases;

use attach_tests::{Engine, Gateway, Script, engine::Seen, gateway::Setup};
use cases::Case;
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const KEY: &str = "sk-test-0123456789";

/// An answer comes within milliseconds, and a connection that is to close does so within the 2 s that it lingers.
const PATIENCE: Duration = Duration::from_secs(10);

async fn world() -> (Engine, Gateway) {
    let engine = Engine::start(Script::Echo).await;
    let setup = Setup::new().with_keys(&[KEY]).with_engine(&engine).with("MAX_TOKENS_PER_MIN", "none");
    // One core, so that all requests share one pool of connections to the engine.
    let gateway = setup.with_argument("--workers").with_argument("1").start().await;
    (engine, gateway)
}

/// What a connection gives until it is closed, or until nothing comes for a moment.
async fn exchange(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    // It may be refused, and closed, while it is still on its way.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let quiet = if answer.is_empty() { PATIENCE } else { Duration::from_millis(50) };
        match tokio::time::timeout(quiet, stream.read_buf(&mut answer)).await {
            Ok(Ok(1..)) if tokio::time::Instant::now() < deadline => {}
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

fn is_authorised(seen: &Seen) -> bool {
    let spoofed =
        ["x_attach_user", "x_attach-tenant", "content_length", "transfer_encoding", "transfer-encoding"];
    matches!(seen.target.as_str(), "/v1/chat/completions" | "/api/tags")
        && spoofed.iter().all(|name| !seen.headers.contains_key(*name))
        && seen.headers["x-attach-user"].len() == 1
        && seen.header("x-attach-user") != Some("root")
        && seen.header("x-attach-tenant") == Some("default")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_request_brings_the_engine_what_nobody_was_authorised_for() {
    let (engine, gateway) = world().await;
    let honest = gateway.client().with_bearer(KEY);
    let cases = cases::all();
    let names: std::collections::HashSet<_> = cases.iter().map(|case| case.name).collect();
    assert!(cases.len() >= 60 && names.len() == cases.len(), "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (number, Case { name, bytes, status: expected, seen }) in cases.into_iter().enumerate() {
        let before = engine.seen().len();
        let answer = exchange(&gateway, &bytes).await;
        let reached = engine.seen().split_off(before);
        if status(&answer) != Some(expected) || answer.matches("HTTP/1.1 ").count() != 1 {
            wrong.push(format!("{name}: {expected} expected\n{answer}"));
        }
        if reached.len() != seen || !reached.iter().all(is_authorised) {
            wrong.push(format!("{name}: the engine saw {reached:#?}"));
        }
        if expected != 200
            && expected != 413
            && !answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
        {
            wrong.push(format!("{name}: the connection stays open\n{answer}"));
        }
        let marker = format!("honest {number}");
        let body = json!({"model": "tiny", "messages": [{"role": "user", "content": marker}]});
        let own = honest.post("/v1/chat/completions", &body).await;
        if own.status != 200 || own.json()["choices"][0]["message"]["content"] != marker.as_str() {
            wrong.push(format!("{name}: the next honest request got {}", own.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_request_is_judged_the_same_however_it_is_cut_up() {
    let (engine, gateway) = world().await;
    for Case { name, bytes, status: expected, seen } in cases::all().into_iter().step_by(9) {
        let before = engine.seen().len();
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        // The last byte of each piece is the first of something else in the next run of this.
        for piece in bytes.chunks(bytes.len().div_ceil(23).max(1)) {
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut answer = vec![0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
        read.expect("in time").expect("a status line");
        assert_eq!(status(&String::from_utf8_lossy(&answer)), Some(expected), "{name}");
        drop(stream);
        assert_eq!(engine.seen().len() - before, seen, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_request_after_another_and_none_that_comes_too_soon() {
    let (engine, gateway) = world().await;
    let ask = |marker: &str, close: bool| {
        let body = json!({"model": "tiny", "messages": [{"role": "user", "content": marker}]}).to_string();
        let close = if close { "Connection: close\r\n" } else { "" };
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n{close}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    for marker in ["first", "second", "third"] {
        stream.write_all(ask(marker, false).as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        while !answer.ends_with('}') || answer.is_empty() {
            let mut piece = [0; 1024];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await.expect("in time");
            let read = read.expect("an answer");
            assert!(read > 0, "closed after {answer}");
            answer.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        assert!(answer.contains(marker) && !answer.contains("connection: close"), "{answer}");
    }
    let both = format!("{}{}", ask("fourth", false), ask("fifth", true));
    stream.write_all(both.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    // What was not read may reset the connection in the end.
    let _ = read.expect("closed in time");
    assert!(answer.contains("fourth") && answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains("fifth"), "{answer}");
    assert_eq!(engine.seen().len(), 4);
}
