//! HTTP/2, which a caller gets over TLS when it asks for it.

mod floods;
mod wire;

use attach_tests::{Engine, Gateway, Script, engine::samples, gateway::Setup};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use wire::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, frame, opening};

const KEY: &str = "sk-test-0123456789";
const PATIENCE: Duration = Duration::from_secs(20);

type Tls = TlsStream<TcpStream>;

/// Its name, what it changes of a good request, and the status, or the end of the stream.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

struct World {
    engine: Engine,
    gateway: Gateway,
    certificate: CertificateDer<'static>,
}

impl World {
    async fn start(script: Script) -> Self {
        let certified =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let engine = Engine::start(script).await;
        let setup = Setup::new().with_keys(&[KEY]).with_engine(&engine).with("MAX_TOKENS_PER_MIN", "none");
        std::fs::create_dir(setup.folder().join("certs")).expect("our own folder");
        setup.file("certs/server.crt", &certified.cert.pem());
        setup.file("certs/server.key", &certified.signing_key.serialize_pem());
        Self { engine, gateway: setup.start().await, certificate: certified.cert.der().clone() }
    }

    /// A connection on which HTTP/2 is agreed.
    async fn connect(&self) -> Tls {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.gateway.port)).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream
    }

    async fn client(&self) -> SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
        tokio::spawn(connection);
        sender
    }

    /// An honest request on a connection of its own gets its own answer.
    async fn is_well(&self) {
        let mut client = self.client().await;
        let answer = within(client.send_request(chat("honest"))).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(json_of(answer).await["choices"][0]["message"]["content"], "honest");
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn chat(marker: &str) -> Request<Full<Bytes>> {
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": marker}]}).to_string();
    let request = Request::post("https://localhost/v1/chat/completions")
        .header("authorization", format!("Bearer {KEY}"));
    request.body(Full::new(body.into())).expect("a request")
}

async fn json_of(answer: Response<Incoming>) -> Value {
    let body = within(answer.into_body().collect()).await.expect("a whole answer").to_bytes();
    serde_json::from_slice(&body).expect("JSON")
}

/// The headers of a request as they have to be, with others in their place.
fn request<'a>(changed: &[(&'a str, &'a str)]) -> Vec<u8> {
    let mut headers = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/api/tags"),
        ("authorization", "Bearer sk-test-0123456789"),
    ];
    for (name, value) in changed {
        match headers.iter_mut().find(|(known, _)| known == name) {
            Some(header) => header.1 = value,
            None => headers.push((name, value)),
        }
    }
    block(&headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_a_time_get_each_its_own_answer() {
    let world = World::start(Script::Echo).await;
    let client = world.client().await;
    let asked = (0..100).map(|number| {
        let mut client = client.clone();
        tokio::spawn(async move {
            client.ready().await.expect("open");
            let marker = format!("number {number}");
            let answer = within(client.send_request(chat(&marker))).await.expect("an answer");
            assert!(answer.headers().contains_key("x-request-id"));
            assert_eq!(json_of(answer).await["choices"][0]["message"]["content"], marker.as_str());
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.expect("answered");
    }
    assert_eq!(world.gateway.wait_events(100).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_as_it_comes_and_one_that_is_taken_back_frees_the_engine() {
    let first = attach_tests::engine::Step::Chunk(samples::openai_chunks(1, 3)[0].clone());
    let world =
        World::start(Script::Stream("text/event-stream", vec![first, attach_tests::engine::Step::Wait]))
            .await;
    let mut client = world.client().await;
    let body = json!({"model": "tiny", "messages": [], "stream": true}).to_string();
    let request = Request::post("https://localhost/v1/chat/completions").header("x-api-key", KEY);
    let request = request.body(Full::new(body.into())).expect("a request");
    let mut answer = within(client.send_request(request)).await.expect("an answer");
    let piece =
        within(answer.body_mut().frame()).await.expect("a piece").expect("whole").into_data().expect("data");
    assert!(String::from_utf8_lossy(&piece).contains("t0"));
    drop(answer);
    world.engine.wait_abandoned(Duration::from_secs(5)).await;
    // The connection itself goes on.
    let refused = Request::get("https://localhost/nothing").body(Full::default()).expect("a request");
    assert_eq!(within(client.send_request(refused)).await.expect("an answer").status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_by_http1_is_refused_here_too() {
    let world = World::start(Script::Echo).await;
    let long = format!("/api/tags?{}", "x".repeat(9 << 10));

    let cases: &[Case<'_>] = &[
        ("a path that is not plain", &[(":path", "/v1/../api/tags")], "400"),
        ("an escaped path", &[(":path", "/v1/%2e%2e/api/tags")], "400"),
        ("a double slash", &[(":path", "//api/tags")], "400"),
        ("another host in the header", &[("host", "internal")], "400"),
        ("an authority with a user", &[(":authority", "user@localhost")], "400"),
        ("an unknown method", &[(":method", "BREW")], "501"),
        ("a method in lower case", &[(":method", "get")], "501"),
        ("an unknown expectation", &[("expect", "200-ok")], "417"),
        ("a compressed body", &[("content-encoding", "gzip")], "415"),
        ("a long target", &[(":path", &long)], "414"),
        ("a connection header", &[("connection", "close")], "reset"),
        ("a transfer coding", &[("transfer-encoding", "chunked")], "reset"),
        ("a line break in a value", &[("x-a", "b\r\nx-attach-user: root")], "reset"),
        ("a line break in a path", &[(":path", "/api/tags HTTP/1.1\r\nhost: x")], "reset"),
        ("an upper-case name", &[("X-A", "b")], "reset"),
        ("CONNECT", &[(":method", "CONNECT")], "501"),
        ("a length without a body", &[("content-length", "5")], "reset"),
    ];
    for (name, changed, expected) in cases {
        let mut stream = world.connect().await;
        let bytes = [opening(&[]), frame(HEADERS, END_HEADERS | END_STREAM, 1, &request(changed))].concat();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.expect("it reads");
        let outcome = within(async {
            loop {
                match wire::read(&mut stream).await {
                    Some(answer) if answer.stream == 1 && answer.kind == HEADERS => {
                        return status(&answer.payload);
                    }
                    Some(answer) if matches!(answer.kind, RST_STREAM | wire::GOAWAY) => {
                        return "reset".to_owned();
                    }
                    Some(_) => {}
                    None => return "reset".to_owned(),
                }
            }
        })
        .await;
        let is_right = outcome == *expected || outcome == "reset" && *name == "CONNECT";
        assert!(is_right, "{name}: {outcome} instead of {expected}");
    }
    assert!(world.engine.seen().is_empty(), "{:#?}", world.engine.seen());
    world.is_well().await;
}

/// The status in the first field of a block: an index of the static table, or a literal with that name.
fn status(block: &[u8]) -> String {
    match block[0] {
        indexed @ 0x88..=0x8e => {
            ["200", "204", "206", "304", "400", "404", "500"][usize::from(indexed - 0x88)].to_owned()
        }
        _ => {
            let length = usize::from(block[1] & 0x7f);
            let value = &block[2..2 + length];
            // Digits by Huffman's code: 0 to 2 have five bits, 3 to 9 six (RFC 7541, appendix B).
            if block[1] & 0x80 == 0 { String::from_utf8_lossy(value).into_owned() } else { digits(value) }
        }
    }
}

fn digits(coded: &[u8]) -> String {
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0_u8, |number, bit| number << 1 | bit);
    let (mut at, mut text) = (0, String::new());
    while bits.len() - at >= 5 && text.len() < 3 {
        let short = number(&bits[at..at + 5]);
        if short < 3 {
            text.push(char::from(b'0' + short));
            at += 5;
        } else {
            text.push(char::from(b'3' + number(&bits[at..at + 6]) - 0x19));
            at += 6;
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn more_of_a_body_than_was_announced_is_no_request() {
    let world = World::start(Script::Echo).await;
    let mut stream = world.connect().await;
    let headers = request(&[(":method", "POST"), (":path", "/v1/chat/completions"), ("content-length", "5")]);
    let body = br#"{"model":"tiny","messages":[]}"#;
    let bytes =
        [opening(&[]), frame(HEADERS, END_HEADERS, 1, &headers), frame(DATA, END_STREAM, 1, body)].concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.expect("it reads");
    within(async {
        while let Some(answer) = wire::read(&mut stream).await {
            if matches!(answer.kind, RST_STREAM | wire::GOAWAY) {
                break;
            }
        }
    })
    .await;
    assert!(world.engine.seen().is_empty());
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_finishes_what_is_asked_and_says_so() {
    let mut chunks: Vec<_> =
        samples::openai_chunks(1, 3).into_iter().map(attach_tests::engine::Step::Chunk).collect();
    chunks.insert(1, attach_tests::engine::Step::Wait);
    chunks.push(attach_tests::engine::Step::End);
    let mut world = World::start(Script::Stream("text/event-stream", chunks)).await;
    let mut client = world.client().await;
    let body = json!({"model": "tiny", "messages": [], "stream": true}).to_string();
    let request = Request::post("https://localhost/v1/chat/completions").header("x-api-key", KEY);
    let request = request.body(Full::new(body.into())).expect("a request");
    let answer = within(client.send_request(request)).await.expect("an answer");
    world.gateway.signal(Signal::SIGTERM);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.engine.go_on(1);
    let body = within(answer.into_body().collect()).await.expect("a whole answer").to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&body));
    assert!(world.gateway.wait_end(PATIENCE).await.success());
}
