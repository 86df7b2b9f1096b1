//! The gateway gets its certificates from a real ACME server, and renews them.
//!
//! `tests/run real` runs this. Certificates are good for a minute here, so each scenario takes one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

mod pebble;

use attach_tests::{Gateway, eventually, free_port, gateway::Setup};
use pebble::Plan;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const DOMAINS: [&str; 2] = ["gpu-7.example.test", "models.example.test"];

/// The first certificate: a few seconds, more after refused nonces. Before a minute is over it has ended.
const FIRST: Duration = Duration::from_secs(55);

/// Due at two thirds of a minute.
const RENEWED: Duration = Duration::from_secs(75);

#[derive(Clone, Copy)]
enum Challenge {
    TlsAlpn01,
    Http01,
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_handshake_a_certificate_is_issued_served_and_renewed_and_kept_over_a_restart() {
    issued_and_renewed(Challenge::TlsAlpn01, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_request_a_certificate_is_issued_served_and_renewed_and_kept_over_a_restart() {
    issued_and_renewed(Challenge::Http01, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_handshake_also_where_three_nonces_in_ten_are_refused() {
    issued_and_renewed(Challenge::TlsAlpn01, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_request_also_where_three_nonces_in_ten_are_refused() {
    issued_and_renewed(Challenge::Http01, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_has_forgotten_the_account_is_asked_for_another() {
    let Some(world) = World::new(Challenge::TlsAlpn01) else { return };
    let gateway = world.setup.start().await;
    let pebble = world.plan.start(world.http_port, gateway.port, 0).await;
    let first = world.first_certificate(&gateway).await;
    drop(pebble);
    let _pebble = world.plan.start(world.http_port, gateway.port, 0).await;
    // The root of what is issued is another one too.
    let caller = world.caller().await;
    eventually("one of the new root is served", RENEWED, async || {
        connect(&caller, gateway.port, DOMAINS[0]).await.filter(|stream| shown(stream) != first)
    })
    .await;
    assert_eq!(gateway.log().matches("an account was made").count(), 2, "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_lead_here_is_told_with_what_the_authority_saw_and_what_to_do() {
    for (challenge, expected) in [(Challenge::TlsAlpn01, "its port 443"), (Challenge::Http01, "its port 80")]
    {
        let Some(world) = World::new(challenge) else { return };
        let gateway = world.setup.start().await;
        let nobody = free_port();
        let _pebble = world.plan.start(nobody, nobody, 0).await;
        let problem = eventually("the refusal is told", FIRST, async || {
            let readiness = gateway.admin().get("/readyz").await;
            let problem = readiness.json()["tls"]["problem"].as_str()?.to_owned();
            problem.contains("could not be shown").then_some((readiness.status, problem))
        })
        .await;
        assert_eq!(problem.0, 503, "nobody can call");
        let names_it = DOMAINS.iter().any(|domain| problem.1.contains(domain));
        assert!(names_it && problem.1.contains(expected), "{}", problem.1);
        assert!(problem.1.contains(&nobody.to_string()), "where it looked: {}", problem.1);
    }
}

/// A gateway that is told of an authority which is not there yet.
struct World {
    plan: Plan,
    setup: Setup,
    http_port: u16,
    server_root: CertificateDer<'static>,
}

impl World {
    /// `None` where the authority cannot be had.
    fn new(challenge: Challenge) -> Option<Self> {
        let Some(parts) = pebble::parts() else {
            println!("SKIPPED: there is no real ACME server here; the reason is above.");
            return None;
        };
        let (plan, http_port) = (Plan::new(parts), free_port());
        let root = plan.server_root();
        let server_root = CertificateDer::from_pem_file(&root).expect("a certificate");
        let (directory, root, port) = (plan.directory(), root.display().to_string(), http_port.to_string());
        let mut arguments =
            vec!["--tls", "acme", "--acme-accept-terms", "--acme-email", "operator@example.test"];
        arguments.extend(["--acme-directory", &directory, "--acme-ca-root", &root]);
        arguments.extend(DOMAINS.iter().flat_map(|domain| ["--acme-domain", domain]));
        if matches!(challenge, Challenge::Http01) {
            arguments.extend(["--acme-challenge", "http-01", "--acme-http-port", &port]);
        }
        let setup = Setup::new().with_keys(&["sk-test-0123456789"]);
        let setup = arguments.into_iter().fold(setup, |setup, argument| setup.with_argument(argument));
        Some(Self { plan, setup, http_port, server_root })
    }

    /// Trusts what the running pebble issues, and checks as strictly as callers do.
    async fn caller(&self) -> TlsConnector {
        let port = self.plan.management_port();
        let mut stream =
            connect(&trusting(&self.server_root, &[]), port, "localhost").await.expect("it listens");
        stream.write_all(b"GET /roots/0 HTTP/1.0\r\nhost: localhost\r\n\r\n").await.expect("written");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        trusting(&CertificateDer::from_pem_slice(&answer).expect("a certificate"), &[])
    }

    async fn first_certificate(&self, gateway: &Gateway) -> CertificateDer<'static> {
        let caller = self.caller().await;
        eventually("the first certificate is served", FIRST, async || {
            Some(shown(&connect(&caller, gateway.port, DOMAINS[0]).await?))
        })
        .await
    }
}

async fn issued_and_renewed(challenge: Challenge, bad_nonces_percent: u8) {
    let Some(world) = World::new(challenge) else { return };
    // The authority is away at first.
    let mut gateway = world.setup.start().await;
    assert_eq!(gateway.admin().get("/readyz").await.json()["tls"]["ends"], serde_json::Value::Null);
    let began = Instant::now();
    let _pebble = world.plan.start(world.http_port, gateway.port, bad_nonces_percent).await;
    let first = world.first_certificate(&gateway).await;
    let after = began.elapsed();
    let caller = world.caller().await;
    for domain in DOMAINS {
        let mut stream = connect(&caller, gateway.port, domain).await.expect("it is for each name");
        assert_eq!(ask(&mut stream, "GET /health").await, "HTTP/1.1 200 OK");
    }
    let renewed = eventually("another one is served", RENEWED, async || {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let stream = connect(&caller, gateway.port, DOMAINS[1]).await.expect("one in force is served");
        Some(shown(&stream)).filter(|shown| *shown != first)
    })
    .await;
    println!(
        "{} with {bad_nonces_percent} % bad nonces: issued after {:.1} s, renewed after {:.1} s",
        challenge.name(),
        after.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    assert_nothing_else_is_served(challenge, &gateway, &world).await;
    assert_kept(&gateway);

    let restarted = gateway.restart_after_kill().await;
    let stream = connect(&caller, restarted.port, DOMAINS[0]).await.expect("it has a certificate at once");
    assert_eq!(shown(&stream), renewed, "the one from before the restart");
}

impl Challenge {
    fn name(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "TLS-ALPN-01",
            Self::Http01 => "HTTP-01",
        }
    }
}

/// `protocols`: what it offers to speak.
fn trusting(root: &CertificateDer<'static>, protocols: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the usual versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// `None` when there is no connection, or no certificate for that name that leads to the root and is in force.
async fn connect(caller: &TlsConnector, port: u16, name: &str) -> Option<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    caller.connect(ServerName::try_from(name.to_owned()).expect("a name"), stream).await.ok()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().expect("a server shows its own");
    chain.first().expect("a chain has a leaf").clone().into_owned()
}

/// The status line of one answer.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    let request = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    // Some servers leave out the closing alert; what was read is what counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

/// Once nothing is asked, nothing is answered.
async fn assert_nothing_else_is_served(challenge: Challenge, gateway: &Gateway, world: &World) {
    let http = async || TcpStream::connect(("127.0.0.1", world.http_port)).await;
    match challenge {
        Challenge::TlsAlpn01 => {
            assert!(http().await.is_err(), "no port that nobody needs");
            let authority = trusting(&world.server_root, &[b"acme-tls/1"]);
            assert!(connect(&authority, gateway.port, DOMAINS[0]).await.is_none(), "no order, no handshake");
        }
        Challenge::Http01 => {
            let paths = ["/", "/health", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/x"];
            for path in paths {
                let mut stream = http().await.expect("it listens");
                let answer = ask(&mut stream, &format!("GET {path}")).await;
                assert_eq!(answer, "HTTP/1.1 404 Not Found", "{path}");
            }
        }
    }
}

/// Account and certificate, for their owner alone.
fn assert_kept(gateway: &Gateway) {
    let folders: Vec<_> =
        std::fs::read_dir(gateway.state().join("acme")).expect("a folder").flatten().collect();
    let [folder] = folders.as_slice() else { panic!("one authority: {folders:?}") };
    for name in ["account.json", "certificate.pem"] {
        let mode = std::fs::metadata(folder.path().join(name)).expect("it is kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!gateway.log().contains("PRIVATE"));
}
