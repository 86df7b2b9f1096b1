//! Files of models, which pass as they come.

use super::{ADMIN, PATIENCE, admin, bundle, digest_path, log_line};
use attach_tests::{Gateway, gateway::Setup};
use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// An engine that reads what it wants when it wants.
async fn slow_engine() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, url)
}

async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(at + 4);
            return (String::from_utf8(read).expect("a head"), rest);
        }
        assert!(stream.read_buf(&mut read).await.expect("it sends") > 0, "a whole head");
    }
}

async fn begin_upload(gateway: &Gateway, framing: &str) -> TcpStream {
    let mut caller = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    let path = digest_path();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {ADMIN}\r\n{framing}\r\n"
    );
    caller.write_all(head.as_bytes()).await.expect("it reads");
    caller
}

async fn answer_to(caller: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, caller.read_to_end(&mut answer));
    let _ = read.await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_file_passes_as_it_comes_and_is_not_kept() {
    let (listener, url) = slow_engine().await;
    let engines = format!("[{{id: engine, url: '{url}'}}]");
    let setup = Setup::new().with_bundle(&bundle(&engines, ""));
    // Far less than the file.
    let gateway = setup.with("MAX_REQUEST_BYTES", "1000").start().await;
    for framing in ["content-length: 300000\r\n", "transfer-encoding: chunked\r\n"] {
        let mut caller = begin_upload(&gateway, framing).await;
        let is_chunked = framing.starts_with("transfer");
        let piece = |length: usize| {
            let data = "x".repeat(length);
            if is_chunked { format!("{length:x}\r\n{data}\r\n") } else { data }
        };
        caller.write_all(piece(100_000).as_bytes()).await.expect("it reads");
        let (mut engine, _) = listener.accept().await.expect("the gateway calls");
        let (head, mut got) = read_head(&mut engine).await;
        assert!(head.starts_with(&format!("POST {} HTTP/1.1\r\n", digest_path())), "{head}");
        assert!(head.contains(framing.trim_end()), "{head}");
        // The first part is there while the caller still has the second.
        while got.len() < 100_000 {
            assert!(engine.read_buf(&mut got).await.expect("it sends") > 0);
        }
        caller.write_all(piece(200_000).as_bytes()).await.expect("it reads");
        if is_chunked {
            caller.write_all(b"0\r\n\r\n").await.expect("it reads");
        }
        let is_whole = |got: &[u8]| {
            got.iter().filter(|&&byte| byte == b'x').count() == 300_000
                && (!is_chunked || got.ends_with(b"0\r\n\r\n"))
        };
        while !is_whole(&got) {
            let read = tokio::time::timeout(PATIENCE, engine.read_buf(&mut got)).await.expect("more of it");
            assert!(read.expect("it sends") > 0);
        }
        engine.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await.expect("it reads");
        let answer = answer_to(&mut caller).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    assert_eq!(log_line(&gateway, "blob", "complete").await["principal"], "admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_has_the_file_already_is_heard_before_all_of_it_was_sent() {
    let (listener, url) = slow_engine().await;
    let gateway =
        Setup::new().with_bundle(&bundle(&format!("[{{id: engine, url: '{url}'}}]"), "")).start().await;
    let mut caller = begin_upload(&gateway, "content-length: 300000\r\n").await;
    caller.write_all(&[b'x'; 1000]).await.expect("it reads");
    let (mut engine, _) = listener.accept().await.expect("the gateway calls");
    read_head(&mut engine).await;
    engine.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("it reads");
    let answer = answer_to(&mut caller).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Nobody else's request goes on a connection on which half a file was sent.
    let second = tokio::spawn({
        let admin = admin(&gateway);
        async move { admin.send(Method::HEAD, &digest_path(), "").await.status }
    });
    let (mut engine, _) = listener.accept().await.expect("the gateway calls anew");
    read_head(&mut engine).await;
    engine.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.expect("it reads");
    assert_eq!(second.await.expect("an answer"), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_ends_badly_reaches_nobody_as_a_whole_one() {
    let (listener, url) = slow_engine().await;
    let gateway =
        Setup::new().with_bundle(&bundle(&format!("[{{id: engine, url: '{url}'}}]"), "")).start().await;

    // Larger than any model's file: the engine does not hear of it.
    let mut caller = begin_upload(&gateway, &format!("content-length: {}\r\n", (1_u64 << 40) + 1)).await;
    let answer = answer_to(&mut caller).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    // The caller leaves half-way: the engine sees the connection end, and no end of the body.
    let mut caller = begin_upload(&gateway, "transfer-encoding: chunked\r\n").await;
    caller.write_all(b"5\r\nxxxxx\r\n").await.expect("it reads");
    let (mut engine, _) = listener.accept().await.expect("the gateway calls");
    let (_, mut got) = read_head(&mut engine).await;
    drop(caller);
    let read = tokio::time::timeout(PATIENCE, engine.read_to_end(&mut got)).await.expect("the end");
    assert!(!String::from_utf8_lossy(&got).contains("0\r\n\r\n"), "{read:?} {got:?}");

    // The engine breaks off: a 502.
    let mut caller = begin_upload(&gateway, "content-length: 10\r\n").await;
    caller.write_all(b"xxxxx").await.expect("it reads");
    let (mut engine, _) = listener.accept().await.expect("the gateway calls");
    read_head(&mut engine).await;
    drop(engine);
    let answer = answer_to(&mut caller).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}
