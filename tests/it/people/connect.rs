//! `attach-gateway connect`, for programs that can't send a credential.

use attach_tests::{
    Client, Engine, Gateway, Person, Provider, Script,
    engine::{Step, samples},
    gateway::Setup,
    issuer::AUDIENCE,
    provider::CLIENT_ID,
};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

async fn gateway(provider: &Provider, engine: &Engine) -> Gateway {
    let setup = Setup::new()
        .with("OIDC_ISSUER", &provider.url())
        .with("OIDC_AUD", AUDIENCE)
        .with("OIDC_CLIENT_ID", CLIENT_ID);
    setup.with_engine(engine).start().await
}

fn url(gateway: &Gateway) -> String {
    format!("http://127.0.0.1:{}", gateway.port)
}

fn chat() -> Value {
    json!({"model": "tiny", "messages": [], "stream": false})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_a_credential_is_served_as_the_person_and_its_own_is_dropped() {
    let provider = Provider::start().await;
    let engine = Engine::start(samples::ollama_chat(11, 7)).await;
    let gateway = gateway(&provider, &engine).await;
    // Where to sign in is asked of the gateway.
    let alice = Person::new();
    let (_connect, port) = alice.connect(&url(&gateway), &[]).await;

    let program = Client::new(port);
    let answer = program.post("/api/chat", &chat()).await;
    let with_its_own = program.with_bearer("ollama").with_header("x-api-key", "sk-mine");
    let again = with_its_own.with_header("cookie", "a=b").post("/api/chat", &chat()).await;

    assert_eq!((answer.status.as_u16(), again.status.as_u16()), (200, 200), "{}", answer.text());
    assert_eq!(answer.json()["message"]["content"], "hi");
    assert_eq!(answer.header("x-tokens-in"), Some("11"), "the gateway's headers come through");
    let events = gateway.wait_events(2).await;
    assert!(events.iter().all(|event| event["principal"]["subject"] == "alice"), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_through_piece_by_piece() {
    let provider = Provider::start().await;
    let chunks = samples::ollama_chunks(3, 4);
    let count = chunks.len();
    let steps =
        chunks.into_iter().flat_map(|chunk| [Step::Wait, Step::Chunk(chunk)]).chain([Step::End]).collect();
    let engine = Engine::start(Script::Stream("application/x-ndjson", steps)).await;
    let gateway = gateway(&provider, &engine).await;
    let alice = Person::new();
    let (_connect, port) = alice.connect(&url(&gateway), &[]).await;

    engine.go_on(1);
    let mut stream = Client::new(port).stream("/api/chat", &json!({"model": "tiny", "messages": []})).await;
    for piece in 1..=count {
        let bytes = stream.next().await.expect("whole").expect("a piece for each that the engine sent");
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1, "piece {piece}");
        engine.go_on(1);
    }
    assert_eq!(stream.next().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_to_be_kept_passes_as_it_comes() {
    let provider = Provider::start().await;
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let setup = Setup::new().with("OIDC_ISSUER", &provider.url()).with("OIDC_AUD", AUDIENCE);
    let gateway = setup.with("MAX_TOKENS_PER_MIN", "none").with_engine(&engine).start().await;
    let alice = Person::at(&provider);
    let (_connect, port) = alice.connect(&url(&gateway), &[]).await;
    let long = json!({"model": "tiny", "messages": [{"role": "user", "content": "x".repeat(9 << 20)}], "stream": false});
    let answer = Client::new(port).post("/api/chat", &long).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(engine.seen()[0].body.len() > 9 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_pointed_at_loopback_and_a_page_of_the_web_do_not_reach_the_gateway() {
    let provider = Provider::start().await;
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let gateway = gateway(&provider, &engine).await;
    let alice = Person::new();
    let (_connect, port) = alice.connect(&url(&gateway), &[]).await;
    for (name, value) in [
        ("host", "evil.example"),
        ("host", &format!("evil.example:{port}")),
        ("host", "localhost"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = Client::new(port).with_header(name, value).post("/api/chat", &chat()).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
        assert!(answer.json()["error"].is_string(), "in Ollama's words: {}", answer.text());
    }
    let preflight = Client::new(port).with_header("origin", "https://evil.example");
    let answer = preflight.send(Method::OPTIONS, "/v1/chat/completions", "").await.whole().await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.json()["error"]["message"].is_string(), "in OpenAI's words: {}", answer.text());

    for (name, value) in
        [("host", format!("localhost:{port}")), ("origin", "http://localhost:3000".to_owned())]
    {
        let answer = Client::new(port).with_header(name, &value).post("/api/chat", &chat()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
    assert_eq!(engine.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_mid_way_is_renewed_and_no_request_is_refused() {
    let provider = Provider::start().await;
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let gateway = gateway(&provider, &engine).await;
    // It is renewed after three quarters of that.
    provider.tokens_live(4);
    let alice = Person::new();
    let (_connect, port) = alice.connect(&url(&gateway), &[]).await;
    let program = Client::new(port);
    for _ in 0..24 {
        let answer = program.post("/api/chat", &chat()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(provider.asked("refresh_token") >= 1);
    assert_eq!(provider.asked("device_code"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_gateway_refuses_with_401_is_sent_once_more_with_another_token() {
    let provider = Provider::start().await;
    // Stands where the gateway would: the first token is no longer good there.
    let refusal = Bytes::from_static(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}");
    let front = Engine::start(Script::Raw(vec![Step::Bytes(refusal)])).await;
    let alice = Person::at(&provider);
    let (_connect, port) = alice.connect(&front.url(), &[]).await;

    let answer = Client::new(port).post("/api/chat", &chat()).await;

    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (401, "{}"), "once, and then as it is");
    let [first, second] = front.seen().try_into().expect("two requests");
    assert_eq!((first.json(), second.json()), (chat(), chat()));
    assert_ne!(first.header("authorization"), second.header("authorization"));
    assert_eq!(provider.asked("refresh_token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_session_has_ended_is_told_to_sign_in_and_may_do_so_in_another_shell() {
    let provider = Provider::start().await;
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let gateway = gateway(&provider, &engine).await;
    provider.tokens_live(0);
    let alice = Person::at(&provider);
    let (_connect, port) = alice.connect(&url(&gateway), &[]).await;
    provider.end_sessions();

    let refused = Client::new(port).post("/api/chat", &chat()).await;
    assert_eq!(refused.status, 401);
    let said = refused.json()["error"].as_str().expect("Ollama's words").to_owned();
    assert!(said.contains("attach-gateway token --issuer"), "{said}");

    provider.tokens_live(3600);
    alice.token(&[]).await;
    assert_eq!(Client::new(port).post("/api/chat", &chat()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_file_does_as_well() {
    let engine = Engine::start(samples::ollama_chat(1, 1)).await;
    let gateway = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine).start().await;
    let person = Person::new();
    let (good, bad) = (person.file("key", "sk-test-0123456789\n"), person.file("bad", "sk-other-0123456789"));

    let (_one, port) = person.connect(&url(&gateway), &["--key-file", &good]).await;
    assert_eq!(Client::new(port).post("/api/chat", &chat()).await.status, 200);

    let (_two, port) = person.connect(&url(&gateway), &["--key-file", &bad]).await;
    let answer = Client::new(port).post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").is_some(), "the gateway's own answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_is_named() {
    let person = Person::new();
    let key = person.file("key", "sk-test-0123456789");
    let nobody = format!("http://127.0.0.1:{}", attach_tests::free_port());
    let (_connect, port) = person.connect(&nobody, &["--key-file", &key]).await;
    let answer = Client::new(port).post("/api/chat", &chat()).await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("cannot be reached"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_gateway_ends_with_its_answer_is_made_anew() {
    let answer = Bytes::from_static(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
    let front = Engine::start(Script::Raw(vec![Step::Bytes(answer), Step::Close])).await;
    let person = Person::new();
    let key = person.file("key", "sk-test-0123456789");
    let (_connect, port) = person.connect(&front.url(), &["--key-file", &key]).await;
    let mut program = KeptOpen::to(port).await;
    for _ in 0..3 {
        assert_eq!(program.chat().await, 200);
    }
    assert_eq!(front.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_listen_for_others_is_refused() {
    for address in ["0.0.0.0:11434", "192.0.2.1:1", "[::]:11434"] {
        let ended = Person::new().run(&["connect", "http://127.0.0.1:8080", "--listen", address]).await;
        assert_eq!(ended.code, Some(78), "{address}");
        assert!(
            ended.stderr.contains("--listen") && ended.stderr.contains("acts as you"),
            "{}",
            ended.stderr
        );
    }
}

/// A program that keeps its connection for the next request.
struct KeptOpen {
    sender: hyper::client::conn::http1::SendRequest<http_body_util::Full<Bytes>>,
    port: u16,
}

impl KeptOpen {
    async fn to(port: u16) -> Self {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("a connection");
        tokio::spawn(connection);
        Self { sender, port }
    }

    async fn chat(&mut self) -> u16 {
        let request = http::Request::post("/api/chat").header("host", format!("127.0.0.1:{}", self.port));
        let request = request.body(http_body_util::Full::from(chat().to_string())).expect("a request");
        self.sender.ready().await.expect("the connection is kept");
        let response = self.sender.send_request(request).await.expect("an answer");
        let status = response.status().as_u16();
        let _ = http_body_util::BodyExt::collect(response.into_body()).await.expect("whole");
        status
    }
}
