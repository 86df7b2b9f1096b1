//! Certificate files that change.

use super::caller::{Caller, KEY};
use attach_tests::{eventually, gateway::Setup};
use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A change acts within two looks, of half a second each; five times that.
const SECONDS: Duration = Duration::from_secs(5);

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
}

fn put(setup: &Setup, certified: &CertifiedKey<KeyPair>) {
    setup.file("server.crt", &certified.cert.pem());
    setup.file("server.key", &certified.signing_key.serialize_pem());
}

fn setup() -> Setup {
    let arguments = ["--tls-cert", "server.crt", "--tls-key", "server.key"];
    arguments
        .into_iter()
        .fold(Setup::new().with_keys(&[KEY]), |setup, argument| setup.with_argument(argument))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_replaced_under_load_is_shown_to_new_callers_and_drops_no_connection() {
    let (old, new) = (certificate(), certificate());
    let setup = setup();
    put(&setup, &old);
    let gateway = setup.start().await;
    let caller = Caller::new(gateway.port, "localhost", &[old.cert.der(), new.cert.der()]);
    let mut kept = caller.connect().await.expect("a handshake");
    assert_eq!(&kept.server, old.cert.der());

    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (caller, stop, served) = (caller.clone(), Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let status = caller.ask().await.expect("no handshake and no request fails");
                    assert_eq!(status, "HTTP/1.1 200 OK");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    put(&setup, &new);
    eventually("new handshakes get the new certificate", SECONDS, async || {
        let shown = caller.connect().await.expect("a handshake").server;
        (&shown == new.cert.der()).then_some(())
    })
    .await;
    let before = served.load(Ordering::Relaxed);
    eventually("the load goes on", SECONDS, async || (served.load(Ordering::Relaxed) > before).then_some(()))
        .await;
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("all were served");
    }
    assert_eq!(kept.ask().await.expect("the connection from before goes on"), "HTTP/1.1 200 OK");
    assert_eq!(gateway.log().matches("act now").count(), 1, "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_does_not_fit_changes_nothing_and_is_told_once_until_it_does() {
    let (old, new) = (certificate(), certificate());
    let setup = setup();
    put(&setup, &old);
    let gateway = setup.start().await;
    let caller = Caller::new(gateway.port, "localhost", &[old.cert.der(), new.cert.der()]);

    setup.file("server.key", &new.signing_key.serialize_pem());
    let problem = "server.crt and server.key: the key does not belong to the certificate";
    let tls = async || gateway.admin().get("/readyz").await.json()["tls"].clone();
    eventually("the mistake is told", SECONDS, async || {
        tls().await["problem"].as_str().is_some_and(|told| told.starts_with(problem)).then_some(())
    })
    .await;
    let metrics = gateway.admin().get("/metrics").await.text();
    assert!(metrics.contains("\nattach_tls_certificate_problem 1"), "{metrics}");
    assert!(metrics.contains("\nattach_tls_certificate_failures_total 1"), "{metrics}");
    assert_eq!(&caller.connect().await.expect("the last good one").server, old.cert.der());

    setup.file("server.crt", "no certificate");
    eventually("the next mistake is told", SECONDS, async || {
        tls().await["problem"].as_str().is_some_and(|told| told.starts_with("server.crt:")).then_some(())
    })
    .await;
    assert_eq!(&caller.connect().await.expect("the last good one").server, old.cert.der());
    assert_eq!(gateway.log().matches(problem).count(), 1, "{}", gateway.log());

    setup.file("server.crt", &new.cert.pem());
    eventually("the pair acts", SECONDS, async || {
        (&caller.connect().await.expect("a handshake").server == new.cert.der()).then_some(())
    })
    .await;
    assert_eq!(tls().await["problem"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_warned_of_and_its_end_stands_in_the_metrics() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let ended = params.self_signed(&key).expect("a certificate");
    let setup = setup();
    setup.file("server.crt", &ended.pem());
    setup.file("server.key", &key.serialize_pem());
    let gateway = setup.start().await;

    eventually("its end is told", SECONDS, async || {
        gateway.log().contains("the certificate has ended").then_some(())
    })
    .await;
    let metrics = gateway.admin().get("/metrics").await.text();
    assert!(metrics.contains("\nattach_tls_certificate_ends_timestamp_seconds 978307200"), "{metrics}");
    let tls = gateway.admin().get("/readyz").await.json()["tls"].clone();
    assert_eq!((&tls["ends"], &tls["names"][0]), (&"2001-01-01T00:00:00Z".into(), &"localhost".into()));

    // One in force takes its place; an ended one does not take that one's.
    let good = certificate();
    put(&setup, &good);
    let caller = Caller::new(gateway.port, "localhost", &[good.cert.der()]);
    eventually("the good one acts", SECONDS, async || caller.connect().await.ok()).await;
    setup.file("server.crt", &ended.pem());
    setup.file("server.key", &key.serialize_pem());
    eventually("the ended one is refused", SECONDS, async || {
        gateway.log().contains("put one there that is in force").then_some(())
    })
    .await;
    assert_eq!(&caller.connect().await.expect("the good one").server, good.cert.der());
}
