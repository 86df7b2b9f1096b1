//! Issuers in trouble, as the console shows them.

use super::{engine, load::Load, standing::until, status, stranger};
use attach_tests::{
    Client, ControlPlane, Issuer, Signer, eventually, free_port,
    gateway::Setup,
    issuer::{AUDIENCE, claims_of},
};
use http::Method;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// What a gateway sees is told each ten seconds; five times that.
const PATIENCE: Duration = Duration::from_secs(50);

/// Until the agents' page has a row of this issuer with all of these in it.
async fn until_shown(console: &Client, issuer: &str, expected: &[&str]) {
    let what = format!("the console shows {expected:?} of {issuer}");
    eventually(&what, PATIENCE, async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let page = console.get("/agents").await.text();
        let row = page.split("<tr>").find(|row| row.contains(&format!(">{issuer}<")))?;
        expected.iter().all(|text| row.contains(text)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_shows_issuers_that_are_well_away_wrong_and_back() {
    let Some(plane) = ControlPlane::start().await else { return };
    let key = Arc::new(Signer::new("k"));
    let (well, wrong, port) = (Issuer::start().await, Issuer::start().await, free_port());
    well.publish(&[&key]);
    wrong.publish(&[&key]);
    let (well_url, wrong_url, away_url) = (well.url(), wrong.url(), format!("http://127.0.0.1:{port}"));
    plane.call(Method::POST, "/pools", json!({"id": "main", "name": "Main"})).await;
    plane.call(Method::POST, "/quota-stores", json!({"id": "memory", "kind": "local"})).await;
    let tenant = json!({"id": "acme", "name": "Acme", "quota_store": "memory", "pool": "main"});
    plane.call(Method::POST, "/tenants", tenant).await;
    for (id, url) in [("well", &well_url), ("wrong", &wrong_url), ("away", &away_url)] {
        let provider = json!({"issuer": url, "audiences": [AUDIENCE]});
        plane.call(Method::PUT, &format!("/tenants/acme/identity-providers/{id}"), provider).await;
    }
    let engine = engine().await;
    let setup = Setup::new().with_engine(&engine).with_join(&plane.join_line("main"));
    let gateway = setup.with_argument("--allow-addresses=127.0.0.1").start().await;
    for url in [&well_url, &wrong_url] {
        eventually("its issuers are known", PATIENCE, async || {
            let ready = gateway.admin().send(Method::GET, "/readyz", "").await.whole().await;
            ready.text().contains(url.as_str()).then_some(())
        })
        .await;
        until(&gateway, url, "it was heard", |it| it.usable).await;
    }
    let console = plane.console().await;
    until_shown(&console, &well_url, &[">good<"]).await;
    until_shown(&console, &away_url, &[">no keys<", "never", "refused"]).await;

    let callers = [&well_url, &wrong_url].map(|url| {
        let (url, key) = (url.clone(), Arc::clone(&key));
        let mut asked = 0;
        move || {
            asked += 1;
            key.token(&claims_of(&url, &format!("caller-{}", asked / 2), &json!({})))
        }
    });
    let load = Load::start(&gateway, Duration::from_millis(50), callers);
    wrong.break_down(true);
    assert_eq!(status(&gateway, &stranger(&wrong)).await, 503);
    let away = Issuer::start_at(port).await;
    away.publish(&[&key]);
    // Its first caller has it asked at once; without one it would be within half a minute.
    let token = key.token(&claims_of(&away_url, "alice", &json!({})));
    assert_eq!(status(&gateway, &token).await, 200, "without a restart");
    until_shown(&console, &wrong_url, &[">old keys<", "500"]).await;
    until_shown(&console, &away_url, &[">good<"]).await;
    println!("{} requests served meanwhile, none refused", load.end().await.all_well());
}
