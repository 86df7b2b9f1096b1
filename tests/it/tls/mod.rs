//! HTTPS, and where its certificate comes from.

mod caller;
mod clients;
mod files;

use attach_tests::gateway::Setup;
use caller::{Caller, KEY};

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
