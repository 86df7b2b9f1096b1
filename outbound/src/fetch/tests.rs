//! Against servers on loopback, which stand for what a tenant may or may not reach: 127.0.0.2 is excepted, the rest is not.

use super::*;
use crate::dial::tls_config;
use parking_lot::Mutex;
use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Answers every request with the same bytes, and counts who connects.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    last_request: Arc<Mutex<String>>,
}

impl Server {
    async fn start(address: &str, answer: impl Into<String>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, answer) = (listener.local_addr().unwrap(), answer.into());
        let (connections, last_request) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let server = Self { address, connections: Arc::clone(&connections), last_request };
        let last_request = Arc::clone(&server.last_request);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    request.push(byte);
                }
                *last_request.lock() = String::from_utf8(request).unwrap();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A tenant's, on a host whose operator excepts 127.0.0.2. Names have `answers`, one look-up after the other.
fn tenants(answers: &[&[&str]]) -> Fetcher {
    let answers = answers.iter().map(|ips| ips.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).collect());
    let guard = Guard::Tenant(Arc::new("127.0.0.2".parse().unwrap()));
    let resolver = Resolver::Scripted(Arc::new(Mutex::new(answers.collect())));
    Fetcher::new(tls_config(), guard).with_resolver(resolver)
}

async fn fetch(fetcher: &Fetcher, url: &str) -> Result<Bytes, FetchError> {
    fetcher.fetch(&url.parse().unwrap()).await
}

fn is_forbidden(result: &Result<Bytes, FetchError>) -> bool {
    matches!(result, Err(FetchError::Dial(DialError::Forbidden(_))))
}

#[tokio::test]
async fn a_name_that_changes_between_the_check_and_the_use_leads_to_what_was_checked() {
    let public = Server::start("127.0.0.2:0", ok("public")).await;
    let port = public.address.port();
    let private = Server::start(&format!("127.0.0.3:{port}"), ok("private")).await;
    let fetcher = tenants(&[&["127.0.0.2"], &["127.0.0.3"]]);
    let url = format!("http://rebind.test:{port}/");
    assert_eq!(fetch(&fetcher, &url).await.unwrap(), "public");
    // The next exchange resolves anew, and is checked anew.
    assert!(is_forbidden(&fetch(&fetcher, &url).await));
    assert_eq!((public.connections(), private.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_with_a_forbidden_address_among_good_ones_is_not_dialled_at_all() {
    let public = Server::start("127.0.0.2:0", ok("public")).await;
    let port = public.address.port();
    let private = Server::start(&format!("127.0.0.3:{port}"), ok("private")).await;
    for answers in [["127.0.0.2", "127.0.0.3"], ["127.0.0.3", "127.0.0.2"], ["127.0.0.2", "::1"]] {
        let result = fetch(&tenants(&[&answers]), &format!("http://mixed.test:{port}/")).await;
        assert!(is_forbidden(&result), "{answers:?}");
    }
    assert_eq!((public.connections(), private.connections()), (0, 0));
}

#[tokio::test]
async fn a_forbidden_address_gets_no_packet_whatever_the_url_calls_it() {
    let private = Server::start("127.0.0.1:0", ok("private")).await;
    let port = private.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "[::]",
        "u:p@127.0.0.2",
        "private.test",
    ] {
        let result = fetch(&tenants(&[&["127.0.0.1"]]), &format!("http://{host}:{port}/")).await;
        assert!(is_forbidden(&result), "{host}: {result:?}");
    }
    assert_eq!(private.connections(), 0);
    // The same address in the operator's own settings is what it says.
    let operators = Fetcher::new(tls_config(), Guard::Operator);
    assert_eq!(fetch(&operators, &format!("http://127.0.0.1:{port}/")).await.unwrap(), "private");
    assert_eq!(fetch(&operators, &format!("http://0x7f.1:{port}/")).await.unwrap(), "private");
}

#[tokio::test]
async fn a_redirect_is_not_followed_wherever_it_leads() {
    let private = Server::start("127.0.0.1:0", ok("private")).await;
    for status in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"] {
        let redirect = format!(
            "HTTP/1.1 {status}\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
            private.address
        );
        let public = Server::start("127.0.0.2:0", redirect).await;
        let result = fetch(&tenants(&[]), &format!("http://{}/", public.address)).await;
        assert!(matches!(result, Err(FetchError::Status(_))), "{status}: {result:?}");
    }
    assert_eq!(private.connections(), 0);
}

#[tokio::test]
async fn nothing_is_kept_from_one_exchange_to_the_next() {
    let server = Server::start("127.0.0.2:0", ok("public")).await;
    let fetcher = tenants(&[]);
    for exchange in 1..=2 {
        fetch(&fetcher, &format!("http://{}/", server.address)).await.unwrap();
        assert_eq!(server.connections(), exchange);
        assert!(!server.last_request.lock().to_ascii_lowercase().contains("cookie"));
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_or_in_an_encoding_is_refused() {
    let long = Server::start("127.0.0.2:0", ok(&"x".repeat(MAX_BODY_BYTES + 1))).await;
    let result = fetch(&tenants(&[]), &format!("http://{}/", long.address)).await;
    assert!(matches!(result, Err(FetchError::TooLong)), "{result:?}");
    let whole = Server::start("127.0.0.2:0", ok(&"x".repeat(MAX_BODY_BYTES))).await;
    assert_eq!(
        fetch(&tenants(&[]), &format!("http://{}/", whole.address)).await.unwrap().len(),
        MAX_BODY_BYTES
    );
    let bomb = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx";
    let bomb = Server::start("127.0.0.2:0", bomb).await;
    let result = fetch(&tenants(&[]), &format!("http://{}/", bomb.address)).await;
    assert!(matches!(result, Err(FetchError::Encoded(_))), "{result:?}");
}
