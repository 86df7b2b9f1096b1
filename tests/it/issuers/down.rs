//! Issuers that nobody reaches: nothing listens where they are to be.

use super::{chat, engine, setup, standing::until, status};
use attach_tests::{Issuer, Signer, eventually, free_port, issuer::claims_of};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_an_issuer_that_comes_after_the_gateway_are_served_without_a_restart() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let (key, engine) = (Signer::new("k"), engine().await);
    let other = Issuer::start().await;
    let gateway = setup(&[url.clone(), other.url()], &engine).start().await;
    let token = key.token(&claims_of(&url, "alice", &json!({})));

    let answer = chat(&gateway, &token).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["code"]),
        (503, &json!("issuer_unavailable"))
    );
    assert!(answer.header("retry-after").is_some());
    let away = until(&gateway, &url, "it is told", |it| it.error.is_some()).await;
    assert!(!away.usable && away.stale && away.keys == 0 && away.failed_fetches > 0, "{away:?}");
    assert!(away.error.as_ref().is_some_and(|error| error.contains("refused")), "{away:?}");
    assert_eq!(away.age, None, "there is nothing that could be old");
    assert_eq!(status(&gateway, &other.token("bob")).await, 200, "others are served");
    let ready = gateway.admin().get("/readyz").await;
    assert_eq!(ready.status, 200, "the others' callers come by the same balancer: {}", ready.text());

    let issuer = Issuer::start_at(port).await;
    issuer.publish(&[&key]);
    eventually("alice is served", Duration::from_secs(60), async || {
        (status(&gateway, &token).await == 200).then_some(())
    })
    .await;
    let heard = until(&gateway, &url, "that it was heard is told", |it| it.error.is_none()).await;
    assert!(heard.usable && !heard.stale && heard.keys == 1, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_former_run_serve_the_first_request_of_the_next_one() {
    let port = free_port();
    let issuer = Issuer::start_at(port).await;
    let (url, key, engine) = (issuer.url(), Signer::new("k"), engine().await);
    issuer.publish(&[&key]);
    let mut gateway = setup(std::slice::from_ref(&url), &engine).start().await;
    until(&gateway, &url, "it was heard", |it| it.usable).await;
    // They are written after they are used.
    eventually("its keys are on the disk", Duration::from_secs(20), async || {
        let mut files = std::fs::read_dir(gateway.state().join("jwks")).ok()?.flatten();
        files.any(|file| file.path().extension().is_some_and(|it| it == "json")).then_some(())
    })
    .await;
    drop(issuer);

    let gateway = gateway.restart_after_kill().await;
    let caller = |name: &str| key.token(&claims_of(&url, name, &json!({})));
    assert_eq!(status(&gateway, &caller("alice")).await, 200, "the very first request");
    for name in ["bob", "carol", "dave"] {
        assert_eq!(status(&gateway, &caller(name)).await, 200);
    }
    let standing = until(&gateway, &url, "that it is away is told", |it| it.error.is_some()).await;
    assert!(standing.usable && standing.keys == 1 && standing.failed_fetches > 0, "{standing:?}");
    assert!(!standing.stale, "they are minutes old at most: {standing:?}");
}
