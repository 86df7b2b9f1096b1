//! Issuers that answer with something else than their keys, under load.

use super::{engine, load::Load, setup, standing::until, status, stranger};
use attach_tests::{
    Engine, Issuer, Script, Signer,
    engine::Step,
    issuer::{claims_of, key_set},
};
use bytes::Bytes;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// An issuer whose keys are on a server that does what the test says.
struct Party {
    issuer: Issuer,
    key: Arc<Signer>,
    server: Engine,
}

impl Party {
    async fn start() -> Self {
        let key = Arc::new(Signer::new("k"));
        let server = Engine::start(Script::Json(200, key_set(&[&key]))).await;
        let issuer = Issuer::start().await;
        issuer.keep_keys_at(&format!("{}/keys", server.url()));
        Self { issuer, key, server }
    }

    fn is_well_again(&self) {
        self.server.set(Script::Json(200, key_set(&[&self.key])));
    }
}

fn http(status: &str, headers: &str, body: &str) -> Bytes {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into()
}

/// What each does, and what is told of it.
fn nonsense(elsewhere: &str) -> Vec<(&'static str, Script, &'static str)> {
    let evil = key_set(&[&Signer::new("evil")]).to_string();
    let whole = http("200 OK", "", &evil);
    let drip = whole.iter().flat_map(|byte| {
        [Step::Bytes(Bytes::copy_from_slice(&[*byte])), Step::Sleep(Duration::from_millis(100))]
    });
    let raw = |bytes: Bytes| Script::Raw(vec![Step::Bytes(bytes), Step::Close]);
    let huge = format!("{{\"x\":\"{}\",{}", "x".repeat(2 << 20), &evil[1..]);
    let leads_away = format!("location: {elsewhere}/keys\r\n");
    vec![
        (
            "a page",
            raw(http("200 OK", "content-type: text/html\r\n", "<html>Sign in</html>")),
            "no JSON object",
        ),
        ("an empty set", Script::Json(200, json!({"keys": []})), "key"),
        ("keys of no use", Script::Json(200, json!({"keys": [{"kty": "oct", "k": "AA"}]})), "key"),
        ("a set that ends in the middle", raw(whole.slice(..whole.len() - 20)), "broke off"),
        ("500", raw(http("500 Internal Server Error", "", &evil)), "500"),
        ("two mebibytes", raw(http("200 OK", "", &huge)), "longer than"),
        ("a redirect", raw(http("302 Found", &leads_away, "")), "302"),
        ("a packed body", raw(http("200 OK", "content-encoding: gzip\r\n", &evil)), "gzip"),
        ("no HTTP", raw(Bytes::from_static(b"hello\r\n\r\n")), "broke off"),
        ("nothing at all", Script::Raw(vec![Step::Close]), "broke off"),
        ("a slow drip", Script::Raw(drip.collect()), "within 5s"),
        ("silence", Script::Raw(vec![Step::Sleep(Duration::from_secs(60))]), "within 5s"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_issuer_answers_under_load_its_callers_are_served_by_the_keys_from_before() {
    let elsewhere = Engine::start(Script::Json(200, key_set(&[&Signer::new("evil")]))).await;
    let cases = nonsense(&elsewhere.url());
    let mut parties = Vec::new();
    for _ in &cases {
        parties.push(Party::start().await);
    }
    let engine = engine().await;
    let urls: Vec<_> = parties.iter().map(|party| party.issuer.url()).collect();
    let gateway = setup(&urls, &engine).start().await;
    for url in &urls {
        until(&gateway, url, "it was heard", |it| it.usable && it.error.is_none()).await;
    }

    // Each second token is one that was never seen before.
    let callers = parties.iter().map(|party| {
        let (url, key) = (party.issuer.url(), Arc::clone(&party.key));
        let known = key.token(&claims_of(&url, "alice", &json!({})));
        let mut asked = 0_usize;
        move || {
            asked += 1;
            if asked.is_multiple_of(2) {
                known.clone()
            } else {
                key.token(&claims_of(&url, &format!("bob-{asked}"), &json!({})))
            }
        }
    });
    let load = Load::start(&gateway, Duration::from_millis(100), callers);
    for ((name, script, told), party) in cases.iter().zip(&parties) {
        party.server.set(script.clone());
        let (gateway, token) = (&gateway, stranger(&party.issuer));
        // Its keys are asked for now, and by nobody's fault but the issuer's it can't be told that this one is unknown.
        assert_eq!(status(gateway, &token).await, 503, "{name}");
        // All issuers together are asked no more than ten times a second.
        tokio::time::sleep(Duration::from_millis(120)).await;
        let standing = until(gateway, &party.issuer.url(), name, |it| it.error.is_some()).await;
        assert!(standing.usable && standing.keys == 1 && standing.failed_fetches > 0, "{name}: {standing:?}");
        let error = standing.error.expect("there is one");
        assert!(error.contains(told), "{name}: {error}");
        println!("{name}: {error}");
        let by_evil = party.issuer.token_by(&Signer::new("evil"), "mallory", &json!({}));
        assert_eq!(status(gateway, &by_evil).await, 503, "{name}");
    }
    for party in &parties {
        party.is_well_again();
    }
    for url in &urls {
        let well = until(&gateway, url, "it is well again", |it| it.error.is_none()).await;
        assert!(well.usable && !well.stale && well.keys == 1, "{well:?}");
    }
    println!("{} requests served meanwhile, none refused", load.end().await.all_well());
    assert!(elsewhere.seen().is_empty(), "where a redirect leads nobody is asked");
}
