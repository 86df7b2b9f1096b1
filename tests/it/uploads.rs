//! Requests whose body comes as networks bring it: in pieces, with pauses, in chunks, or after it was asked for.

use attach_tests::{Engine, Gateway, engine::samples, gateway::Setup};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const KEY: &str = "sk-test-0123456789";

/// Longer than a piece of it takes through the loopback.
const PAUSE: Duration = Duration::from_millis(100);

async fn world() -> (Engine, Gateway) {
    let engine = Engine::start(samples::openai_chat(3, 4)).await;
    let gateway = Setup::new().with_keys(&[KEY]).with_engine(&engine).start().await;
    (engine, gateway)
}

fn body(padding: usize) -> String {
    let text = "x".repeat(padding);
    format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

fn head(more: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n{more}\r\n"
    )
}

/// Sends piece by piece, and gives what came to the end of the connection.
async fn answer_to(gateway: &Gateway, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    for piece in pieces {
        stream.write_all(piece).await.expect("it reads");
        tokio::time::sleep(PAUSE).await;
    }
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    read.await.expect("an answer").expect("a whole one");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_in_pieces_reaches_the_engine_whole() {
    let (engine, gateway) = world().await;
    let body = body(100);
    let length = head(&format!("content-length: {}\r\n", body.len()));
    let (first, second) = body.as_bytes().split_at(50);
    let answer = answer_to(&gateway, &[length.as_bytes(), first, second]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let chunked = head("transfer-encoding: chunked\r\n");
    let (first, second) = (chunk(first), chunk(second));
    let (cut, rest) = second.split_at(20);
    let pieces: [&[u8]; 6] = [chunked.as_bytes(), &first, cut, rest, b"0\r\n", b"\r\n"];
    let answer = answer_to(&gateway, &pieces).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    for seen in engine.seen() {
        assert_eq!(seen.json()["messages"][0]["content"], "x".repeat(100));
    }
    assert_eq!(gateway.wait_events(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_to_be_asked_for_its_body_is_asked() {
    let (_engine, gateway) = world().await;
    let body = body(100);
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    let head = head(&format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut asked = [0; 25];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut asked));
    read.await.expect("an interim answer").expect("the whole of it");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_answers_before_it_has_read_a_large_body_is_heard() {
    let refusal = r#"{"error":{"message":"too long for this model"}}"#;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let port = listener.local_addr().expect("bound").port();
    let engine = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway calls");
        // Much less than the body, which is more than the buffers of both sides take.
        stream.read_exact(&mut [0; 1000]).await.expect("the beginning");
        let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{refusal}", refusal.len());
        stream.write_all(answer.as_bytes()).await.expect("the gateway reads");
        tokio::time::sleep(Duration::from_secs(10)).await;
    });
    let setup = Setup::new().with_keys(&[KEY]).with("ENGINE_URL", &format!("http://127.0.0.1:{port}"));
    // The body is a prompt of millions of tokens.
    let gateway = setup.with("MAX_TOKENS_PER_MIN", "100000000").start().await;
    let body = body(20_000_000);
    let head = head(&format!("content-length: {}\r\n", body.len()));

    let answer = answer_to(&gateway, &[head.as_bytes(), body.as_bytes()]).await;

    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with(refusal), "{answer}");
    engine.abort();
}
