//! A gateway that makes its certificate itself.

use super::caller::{Caller, KEY};
use attach_tests::{Gateway, gateway::Setup};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

const SAID: &str = "An authority for certificates was made";

fn setup() -> Setup {
    let arguments = ["--tls", "self-signed", "--tls-name", "gpu-7.example"];
    arguments
        .into_iter()
        .fold(Setup::new().with_keys(&[KEY]), |setup, argument| setup.with_argument(argument))
}

fn authority(gateway: &Gateway) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(gateway.state().join("tls").join("ca.crt")).expect("it was made")
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_trust_its_authority_are_served_before_and_after_a_restart() {
    let mut gateway = setup().start().await;
    let authority = authority(&gateway);
    for name in ["localhost", "127.0.0.1", "::1", "gpu-7.example"] {
        let caller = Caller::new(gateway.port, name, &[&authority]);
        assert_eq!(caller.ask().await.expect("an answer"), "HTTP/1.1 200 OK", "{name}");
    }
    assert!(Caller::new(gateway.port, "elsewhere.example", &[&authority]).ask().await.is_err());
    let log = gateway.log();
    assert!(log.contains(SAID) && log.contains("SSL_CERT_FILE=ca.crt"), "{log}");
    assert!(!log.contains("PRIVATE"), "{log}");

    let gateway = gateway.restart_after_kill().await;
    let caller = Caller::new(gateway.port, "gpu-7.example", &[&authority]);
    assert_eq!(caller.ask().await.expect("an answer"), "HTTP/1.1 200 OK");
    assert_eq!(gateway.log().matches(SAID).count(), 1, "it is said once: {}", gateway.log());
    let tls = gateway.admin().get("/readyz").await.json()["tls"].clone();
    assert_eq!(tls["names"][0], "gpu-7.example");
    assert!(tls["days_left"].as_f64().is_some_and(|days| days > 89.0 && days < 91.0), "{tls}");
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    for (arguments, expected) in [
        (&["--tls", "self-signed", "--tls-name", "no name"][..], ["--tls-name", "no host name"]),
        (&["--tls-name", "gpu-7.example"][..], ["--tls-name", "--tls self-signed"]),
        (
            &["--tls", "self-signed", "--tls-cert", "a.crt", "--tls-key", "a.key"][..],
            ["--tls-cert", "--tls files"],
        ),
        (&["--tls", "files"][..], ["--tls files", "--tls-key"]),
    ] {
        let setup = Setup::new().with_keys(&[KEY]);
        let setup = arguments.iter().fold(setup, |setup, argument| setup.with_argument(*argument));
        let (code, text) = setup.run();
        assert_eq!(code, Some(78), "{arguments:?}: {text}");
        assert!(expected.iter().all(|part| text.contains(part)), "{arguments:?}: {text}");
    }
}
