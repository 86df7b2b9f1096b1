//! Callers that present certificates.

use super::caller::{Caller, KEY};
use attach_tests::{Gateway, eventually, gateway::Setup};
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, generate_simple_self_signed,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::time::Duration;

struct World {
    setup: Setup,
    server: CertificateDer<'static>,
}

pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "callers");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

pub(crate) fn caller_of(
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["build.example".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "build");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    (certificate.der().clone(), key.serialize_der().try_into().expect("a key"))
}

fn world(authority: &CertifiedIssuer<'static, KeyPair>) -> World {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let setup = Setup::new().with_keys(&[KEY]).with("RUST_LOG", "info,attach_gateway::tls=debug");
    setup.file("server.crt", &cert.pem());
    setup.file("server.key", &signing_key.serialize_pem());
    setup.file("callers.crt", &authority.pem());
    let arguments = ["--tls-cert", "server.crt", "--tls-key", "server.key", "--tls-client-ca", "callers.crt"];
    let setup = arguments.into_iter().fold(setup, |setup, argument| setup.with_argument(argument));
    World { setup, server: cert.der().clone() }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn is_served(caller: &Caller) -> bool {
    // With TLS 1.3 a caller learns only with the first answer that its certificate was refused.
    caller.ask().await.is_ok_and(|status| status == "HTTP/1.1 200 OK")
}

fn strangers(gateway: &Gateway, server: &CertificateDer<'static>) -> Caller {
    Caller::with_certificate(gateway.port, server, caller_of(&authority()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_where_one_is_presented_and_none_is_needed() {
    let authority = authority();
    let World { setup, server } = world(&authority);
    let gateway = setup.start().await;
    let own = caller_of(&authority);
    let known = fingerprint(&own.0);

    assert!(is_served(&Caller::new(gateway.port, "localhost", &[&server])).await);
    assert!(is_served(&Caller::with_certificate(gateway.port, &server, own)).await);
    assert!(!is_served(&strangers(&gateway, &server)).await);
    // Who it was, is known; the name of a stranger is not taken for anybody's.
    let log = gateway.log();
    let presented: Vec<_> = log.lines().filter(|line| line.contains("presented a certificate")).collect();
    let [line] = presented.as_slice() else { panic!("{log}") };
    assert!(line.contains(&known) && line.contains("CN=build") && line.contains("build.example"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_none_gets_no_connection_where_one_is_required() {
    let authority = authority();
    let World { setup, server } = world(&authority);
    let gateway = setup.with_argument("--tls-client-required").start().await;

    assert!(!is_served(&Caller::new(gateway.port, "localhost", &[&server])).await);
    assert!(!is_served(&strangers(&gateway, &server)).await);
    assert!(is_served(&Caller::with_certificate(gateway.port, &server, caller_of(&authority))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_counts_within_seconds_and_the_old_ones_callers_are_strangers() {
    let (old, new) = (authority(), authority());
    let World { setup, server } = world(&old);
    let gateway = setup.clone().with_argument("--tls-client-required").start().await;
    let olds = Caller::with_certificate(gateway.port, &server, caller_of(&old));
    let news = Caller::with_certificate(gateway.port, &server, caller_of(&new));
    assert!(is_served(&olds).await && !is_served(&news).await);

    setup.file("callers.crt", "nobody");
    eventually("the mistake is told", Duration::from_secs(5), async || {
        gateway.log().contains("--tls-client-ca callers.crt").then_some(())
    })
    .await;
    assert!(is_served(&olds).await, "the authority from before counts on");

    setup.file("callers.crt", &new.pem());
    eventually("the new authority counts", Duration::from_secs(5), async || {
        is_served(&news).await.then_some(())
    })
    .await;
    // Its session from before is not to be resumed either.
    assert!(!is_served(&olds).await);
}

#[test]
fn a_client_authority_without_https_is_refused_by_name() {
    let setup = Setup::new().with_keys(&[KEY]);
    let (code, text) = setup.with_argument("--tls-client-ca").with_argument("callers.crt").run();
    assert_eq!(code, Some(78));
    assert!(text.contains("--tls-client-ca") && text.contains("plain HTTP"), "{text}");
}
