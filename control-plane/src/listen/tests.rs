//! On real sockets, in a time that goes on when nothing else does.

use super::*;
use axum::routing::get;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

async fn served(stop: &CancellationToken) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let slow = async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        "done"
    };
    let stuck = async || std::future::pending::<&str>().await;
    let router =
        Router::new().route("/", get(async || "ok")).route("/slow", get(slow)).route("/stuck", get(stuck));
    (port, tokio::spawn(serve(listener, router, stop.clone())))
}

/// What came until the end, and how many seconds that took.
async fn until_the_end(stream: &mut TcpStream) -> (String, u64) {
    let began = Instant::now();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    (String::from_utf8(text).unwrap(), began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection_and_so_does_a_long_silence_after_an_answer() {
    let stop = CancellationToken::new();
    let (port, _serving) = served(&stop).await;
    for head in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (text, seconds) = until_the_end(&mut stream).await;
        assert!((9..=15).contains(&seconds), "{head:?}: {seconds} s, {text}");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (text, seconds) = until_the_end(&mut stream).await;
    assert!(text.ends_with("ok"), "{text}");
    assert!((74..=81).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn an_open_request_is_answered_before_the_end_and_one_that_never_ends_is_given_up() {
    let stop = CancellationToken::new();
    let (port, serving) = served(&stop).await;
    let mut slow = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut stuck = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stuck.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let began = Instant::now();
    assert!(until_the_end(&mut slow).await.0.ends_with("done"));
    assert_eq!(until_the_end(&mut stuck).await.0, "");
    serving.await.unwrap();
    assert!(began.elapsed() <= GRACE + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_told_so() {
    let stop = CancellationToken::new();
    let (port, _serving) = served(&stop).await;
    let mut stuck = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stuck.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let (text, seconds) = until_the_end(&mut stuck).await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert_eq!(seconds, REQUEST.as_secs());
}
