//! HTTPS, and where its certificate comes from.

mod acme;
mod caller;
pub(crate) mod clients;
mod files;
mod self_signed;

use attach_tests::gateway::Setup;
use caller::{Caller, KEY};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_ollama_auth_proxy_in_the_working_directory_serves_https() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let setup = Setup::new().with_keys(&[KEY]);
    std::fs::create_dir(setup.folder().join("certs")).expect("our own folder");
    setup.file("certs/server.crt", &certified.cert.pem());
    setup.file("certs/server.key", &certified.signing_key.serialize_pem());
    let gateway = setup.start().await;

    let caller = Caller::new(gateway.port, "localhost", &[certified.cert.der()]);
    assert_eq!(caller.ask().await.expect("an answer"), "HTTP/1.1 200 OK");

    // Plain HTTP on that port gets nothing.
    assert!(gateway.client().try_send(http::Method::GET, "/health", "").await.is_err());
}

#[test]
fn a_certificate_that_can_not_be_read_is_named() {
    let setup = Setup::new().with_keys(&[KEY]);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_to_its_end_is_cut() {
    /// What a gateway gives a caller for it.
    const HANDSHAKE: Duration = Duration::from_secs(10);
    let gateway =
        Setup::new().with_keys(&[KEY]).with_argument("--tls").with_argument("self-signed").start().await;
    let began = Instant::now();
    // Nothing at all, and the head of a record that says that 512 bytes of a handshake follow.
    let slow = [&b""[..], &b"\x16\x03\x01\x02\x00"[..]].map(async |beginning| {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
        stream.write_all(beginning).await.expect("written");
        let mut answer = Vec::new();
        let _ =
            tokio::time::timeout(HANDSHAKE * 5, stream.read_to_end(&mut answer)).await.expect("it is cut");
        assert!(began.elapsed() >= HANDSHAKE, "cut after {:?}", began.elapsed());
    });
    let [silent, half] = slow;
    tokio::join!(silent, half);
}
