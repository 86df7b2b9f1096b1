//! Tokens that are bound to a certificate: good on a connection that was opened with it, and on no other.

use super::{
    CHAT, chat, engine,
    https::{Asked, Https, Own, Version},
    setup,
};
use crate::tls::clients::{authority, caller_of};
use attach_tests::{Engine, Gateway, Issuer, eventually, gateway::Setup, signer::sha256};
use rcgen::{CertifiedIssuer, CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{HandshakeKind, pki_types::CertificateDer};
use serde_json::json;
use std::time::Duration;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Over HTTPS, with these authorities for callers' certificates.
async fn gateway(setup: Setup, callers: &str) -> (Gateway, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    setup.file("server.crt", &cert.pem());
    setup.file("server.key", &signing_key.serialize_pem());
    setup.file("callers.crt", callers);
    let mut arguments = vec!["--tls-cert", "server.crt", "--tls-key", "server.key"];
    if !callers.is_empty() {
        arguments.extend(["--tls-client-ca", "callers.crt"]);
    }
    let setup = arguments.into_iter().fold(setup, |setup, argument| setup.with_argument(argument));
    (setup.start().await, cert.der().clone())
}

fn copy(own: &Own) -> Own {
    (own.0.clone(), own.1.clone_key())
}

fn request(token: &str) -> Asked {
    chat(CHAT, &[("authorization", format!("Bearer {token}"))])
}

struct World {
    engine: Engine,
    gateway: Gateway,
    server: CertificateDer<'static>,
    authority: Authority,
    own: Own,
    /// Bound to it.
    token: String,
}

async fn world() -> World {
    let (issuer, engine, authority) = (Issuer::start().await, engine().await, authority());
    let setup = setup(&issuer.url(), &engine, "PROOF_CERTIFICATE");
    let (gateway, server) = gateway(setup, &authority.pem()).await;
    let own = caller_of(&authority);
    let token = issuer.token_with("build", &json!({"cnf": {"x5t#S256": sha256(&own.0)}}));
    let world = World { engine, gateway, server, authority, own, token };
    let https = world.caller(Version::One, Some(copy(&world.own)));
    eventually("the issuer was heard", Duration::from_secs(20), async || {
        (https.ask(request(&world.token)).await.status == 200).then_some(())
    })
    .await;
    world
}

impl World {
    fn caller(&self, version: Version, own: Option<Own>) -> Https {
        Https::new(self.gateway.port, version, &self.server, own)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_certificate_is_served_with_it_and_with_no_other_and_not_without() {
    let world = world().await;
    for version in [Version::One, Version::Two] {
        let own = world.caller(version, Some(copy(&world.own)));
        let others = world.caller(version, Some(caller_of(&world.authority)));
        let none = world.caller(version, None);
        let served = world.engine.seen().len();
        // The second time from what was verified the first time.
        for _ in 0..2 {
            assert_eq!(own.ask(request(&world.token)).await.status, 200, "{version:?}");
            for (what, thief) in [("another's certificate", &others), ("none", &none)] {
                let answer = thief.ask(request(&world.token)).await;
                let challenge = answer.header("www-authenticate").unwrap_or_default();
                assert_eq!(answer.status, 401, "{version:?}, {what}: {}", answer.text());
                assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
            }
        }
        assert_eq!(world.engine.seen().len(), served + 2, "the engine heard of the holder alone");
        let strangers = world.caller(version, Some(caller_of(&authority())));
        let stranger = strangers.try_ask(request(&world.token)).await;
        assert!(stranger.is_err(), "who is vouched for by nobody has no connection");
    }
    for reason in ["other_certificate", "certificate_not_presented"] {
        eventually("the refusals are explained", Duration::from_secs(20), async || {
            (world.gateway.access_log().matches(reason).count() == 4).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_again_shows_its_certificate_again_and_no_session_stands_for_it() {
    let world = world().await;
    for version in [Version::One, Version::Two] {
        let own = world.caller(version, Some(copy(&world.own)));
        for _ in 0..3 {
            let (answer, kind) = own.try_ask(request(&world.token)).await.expect("an answer");
            assert_eq!((answer.status.as_u16(), kind), (200, HandshakeKind::Full), "{version:?}");
        }
    }

    // The same caller does resume where no certificate is asked for.
    let (issuer, engine) = (Issuer::start().await, engine().await);
    let setup = setup(&issuer.url(), &engine, "PROOF_CERTIFICATE");
    let (gateway, server) = gateway(setup, "").await;
    for version in [Version::One, Version::Two] {
        let caller = Https::new(gateway.port, version, &server, Some(copy(&world.own)));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let bound = issuer.token_with("build", &json!({"cnf": {"x5t#S256": sha256(&world.own.0)}}));
            let (answer, kind) = caller.try_ask(request(&bound)).await.expect("an answer");
            assert_eq!(answer.status, 401, "its certificate was not asked for");
            kinds.push(kind);
        }
        assert!(kinds.contains(&HandshakeKind::Resumed), "{version:?}: {kinds:?}");
    }
}
