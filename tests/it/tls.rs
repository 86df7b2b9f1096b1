//! HTTPS from certificate files.

use attach_tests::{Engine, engine::samples, gateway::Setup};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_ollama_auth_proxy_in_the_working_directory_serves_https() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine);
    std::fs::create_dir(setup.folder().join("certs")).expect("our own folder");
    setup.file("certs/server.crt", &certified.cert.pem());
    setup.file("certs/server.key", &certified.signing_key.serialize_pem());
    let gateway = setup.start().await;

    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the usual versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    let request = "GET /api/tags HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-test-0123456789\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    // Some servers leave out the closing alert; what was read is what counts.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Plain HTTP on that port gets nothing.
    assert!(gateway.client().try_send(http::Method::GET, "/health", "").await.is_err());
}

#[test]
fn a_certificate_that_can_not_be_read_is_named() {
    let setup = Setup::new().with_keys(&["sk-test-0123456789"]);
    setup.file("cert.pem", "nothing");
    setup.file("key.pem", "nothing");
    let (code, text) = setup
        .with_argument("--tls-cert")
        .with_argument("cert.pem")
        .with_argument("--tls-key")
        .with_argument("key.pem")
        .run();
    assert_eq!(code, Some(78));
    assert!(text.contains("cert.pem") && text.contains("certificate"), "{text}");
}
