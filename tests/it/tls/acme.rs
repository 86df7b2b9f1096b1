//! What `--tls acme` is started with. What it then does, a real authority sees in `tests/acme`.

use super::caller::KEY;
use attach_tests::{free_port, gateway::Setup};

fn refused(arguments: &[&str]) -> String {
    let setup = Setup::new().with_keys(&[KEY]);
    let setup = arguments.iter().fold(setup, |setup, argument| setup.with_argument(*argument));
    let (code, text) = setup.run();
    assert_eq!(code, Some(78), "{arguments:?}: {text}");
    text
}

#[test]
fn all_that_is_wrong_with_it_is_told_at_once() {
    let text =
        refused(&["--tls", "acme", "--acme-directory", "http://ca.example/", "--acme-http-port", "8080"]);
    for expected in [
        "--acme-accept-terms is not given",
        "--acme-directory is \"http://ca.example/\", which is no https URL",
        "--acme-http-port is given, but the authority does not look there",
        "--acme-domain is given 0 times",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let acme = ["--tls", "acme", "--acme-accept-terms", "--acme-domain"];
    for domain in ["localhost", "*.example.com", "10.0.0.7", "no domain"] {
        let text = refused(&[&acme[..], &[domain]].concat());
        assert!(text.contains(&format!("--acme-domain is {domain:?}")), "{text}");
    }
    let text = refused(&["--acme-domain", "gpu-7.example.com"]);
    assert!(text.contains("--acme-domain") && text.contains("--tls acme"), "{text}");
}

#[test]
fn a_root_that_can_not_be_read_and_a_port_that_is_taken_are_named() {
    let acme = ["--tls", "acme", "--acme-accept-terms", "--acme-domain", "gpu-7.example.com"];
    let text = refused(&[&acme[..], &["--acme-ca-root", "nowhere.pem"]].concat());
    assert!(text.contains("--acme-ca-root nowhere.pem"), "{text}");

    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it was free");
    let port = port.to_string();
    let text = refused(&[&acme[..], &["--acme-challenge", "http-01", "--acme-http-port", &port]].concat());
    assert!(text.contains("--acme-http-port") && text.contains("choose another port"), "{text}");
}
