//! Issuers that are away, lie, or talk nonsense: what was good stays good, and nothing else becomes so.

use super::{
    issuer::{Answer, TestIssuer, http, jwks},
    mint::TestKey,
    *,
};
use crate::identify::{
    demand_budget::DemandBudget,
    issuer_keys::{IssuerKeys, Renewal},
};

fn one(issuer: &TestIssuer) -> Snapshot {
    bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new())
}

#[tokio::test]
async fn t11_a_gateway_that_starts_without_its_issuer_goes_by_the_keys_on_disk() {
    let key = TestKey::p256("k");
    let mut issuer = TestIssuer::start(&[&key]).await;
    // With a slash, so that the form of the issuer must come from the disk as well.
    let effective = format!("{}/", issuer.url);
    issuer
        .answer_metadata(Answer::Json(json!({"issuer": effective, "jwks_uri": format!("{}/k", issuer.url)})));
    let world = World::with(one(&issuer), quick());
    world.settled().await;
    issuer.go_down().await;
    let World { clock, state, .. } = world;
    clock.fetch_add(6 * 3600 * 1000, Ordering::Relaxed);

    let world = World::at(clock, one(&issuer), quick(), state);
    let mut claims = claims(&effective);
    claims["exp"] = json!(NOW + 7 * 3600);
    assert_eq!(world.verdict(&key.token(&claims)).await, "ok");
    claims["iss"] = json!(issuer.url);
    assert_eq!(world.verdict(&key.token(&claims)).await, "issuer_form");
}

#[tokio::test]
async fn t11_an_issuer_that_was_never_heard_is_unavailable_and_the_others_are_not() {
    let (key, other) = (TestKey::p256("k"), TestKey::p256("o"));
    let mut down = TestIssuer::start(&[&key]).await;
    let up = TestIssuer::start(&[&other]).await;
    down.go_down().await;
    let world = World::new(vec![
        provider("down", "acme", &down.url, AUDIENCE),
        provider("up", "acme", &up.url, AUDIENCE),
    ]);
    let fault = world.bearer(&key.token(&claims(&down.url))).await.unwrap_err();
    assert_eq!(fault.code(), "issuer_unavailable");
    assert!(fault.retry_after().unwrap() >= Duration::from_secs(1));
    assert_eq!(world.verdict(&other.token(&claims(&up.url))).await, "ok");
    assert!(world.headers(&[("x-api-key", "sk-good")]).await.is_ok());

    down.come_back().await;
    eventually("the issuer is heard", || world.issuers.status().iter().all(|it| it.usable)).await;
    assert_eq!(world.verdict(&key.token(&claims(&down.url))).await, "ok");
}

#[tokio::test]
async fn t11_stored_keys_serve_only_the_source_that_they_came_from() {
    let key = TestKey::p256("k");
    let mut issuer = TestIssuer::start(&[&key]).await;
    let world = World::with(one(&issuer), quick());
    world.settled().await;
    issuer.go_down().await;
    let directory = world.state.path().join("jwks");
    let stored = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&stored).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let other = provider("idp", "acme", "http://127.0.0.1:1", AUDIENCE);
    let file = KeyFile::new(&directory, &Source::of(&other));
    assert!(file.load().is_none());
    // Copied under the other's name: the name alone is not believed.
    let name = format!("{file:?}").split('"').nth(1).unwrap().to_owned();
    std::fs::copy(&stored, &name).unwrap();
    assert!(file.load().is_none());
    // The same issuer's, from another address.
    let mut elsewhere = provider("idp", "acme", &issuer.url, AUDIENCE);
    elsewhere.jwks_url = Some("http://127.0.0.1:1/keys".parse().unwrap());
    let file = KeyFile::new(&directory, &Source::of(&elsewhere));
    let name = format!("{file:?}").split('"').nth(1).unwrap().to_owned();
    std::fs::copy(&stored, &name).unwrap();
    assert!(file.load().is_none());
    for garbage in ["", "{", "[]", "{\"issuer\":1}"] {
        std::fs::write(&stored, garbage).unwrap();
        assert!(
            KeyFile::new(&directory, &Source::of(&one(&issuer).bundle().identity_providers[0]))
                .load()
                .is_none()
        );
    }
}

#[tokio::test]
async fn t12_tokens_go_on_for_a_day_without_the_issuer_and_no_longer() {
    let key = TestKey::p256("k");
    let mut issuer = TestIssuer::start(&[&key]).await;
    let world = World::with(one(&issuer), quick());
    world.settled().await;
    issuer.go_down().await;
    let mut claims = claims(&issuer.url);
    claims["exp"] = json!(NOW + 100 * 3600);
    let (token, fresh) = (key.token(&claims), {
        claims["sub"] = json!("bob");
        key.token(&claims)
    });
    assert_eq!(world.verdict(&token).await, "ok");
    world.advance(Duration::from_secs(6 * 3600));
    assert_eq!(world.verdict(&token).await, "ok");
    assert_eq!(world.verdict(&fresh).await, "ok");
    let status = world.issuers.status().remove(0);
    assert!(status.stale && status.usable, "{status:?}");

    world.advance(Duration::from_secs(18 * 3600 - 1));
    assert_eq!(world.verdict(&token).await, "ok");
    world.advance(Duration::from_secs(1));
    assert_eq!(world.verdict(&token).await, "issuer_unavailable", "also from the cache");
    let status = world.issuers.status().remove(0);
    assert!(status.stale && !status.usable && status.last_error.is_some(), "{status:?}");

    issuer.come_back().await;
    sleep(quick().cool_down).await;
    assert_eq!(world.verdict(&token).await, "ok");
    let status = world.issuers.status().remove(0);
    assert!(!status.stale && status.usable && status.last_error.is_none(), "{status:?}");
}

#[tokio::test]
async fn t13_whatever_nonsense_an_issuer_talks_its_last_good_keys_stay() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let elsewhere = TestIssuer::start(&[&TestKey::p256("evil")]).await;
    let evil = jwks(&[&TestKey::p256("evil")]).to_string();
    let many: Vec<_> =
        (0..10_000).map(|i| json!({"kty": "RSA", "kid": i.to_string(), "n": "", "e": ""})).collect();
    let big = format!("{{\"x\":\"{}\",{}", "x".repeat(1024 * 1024), &evil[1..]);
    let redirect = format!("location: {}/keys\r\n", elsewhere.url);
    let cases = [
        ("html", http("200 OK", "", b"<html>")),
        ("list", http("200 OK", "", b"[]")),
        ("no keys", http("200 OK", "", b"{\"keys\":[]}")),
        ("unusable keys", http("200 OK", "", b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}")),
        ("ten thousand keys", http("200 OK", "", json!({ "keys": many }).to_string().as_bytes())),
        ("more than a mebibyte", http("200 OK", "", big.as_bytes())),
        ("redirect", http("302 Found", &redirect, b"")),
        ("permanent redirect", http("308 Permanent Redirect", &redirect, evil.as_bytes())),
        ("created", http("201 Created", "", evil.as_bytes())),
        ("not found", http("404 Not Found", "", evil.as_bytes())),
        ("failing", http("500 Internal Server Error", "", evil.as_bytes())),
        ("compressed", http("200 OK", "content-encoding: gzip\r\n", evil.as_bytes())),
        ("cut", http("200 OK", "", evil.as_bytes())[..120].to_vec()),
        ("not HTTP", b"hello\r\n\r\n".to_vec()),
        ("nothing", Vec::new()),
    ];
    // A world for each, because a failing issuer is asked less and less often.
    for (name, bytes) in cases {
        issuer.publish(&[&key]);
        let world = World::of(&issuer).await;
        issuer.answer_keys(Answer::Raw(bytes));
        let header = json!({"alg": "ES256", "kid": "evil"});
        let token = key.sign(&header.to_string(), &claims(&issuer.url).to_string(), "ES256");
        assert_eq!(world.verdict(&token).await, "issuer_unavailable", "{name}");
        assert_eq!(world.verdict(&key.token(&claims(&issuer.url))).await, "ok", "{name}");
        let status = world.issuers.status().remove(0);
        assert!(status.last_error.is_some() && status.keys == 1, "{name}: {status:?}");
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn t13_an_issuer_that_hangs_or_drips_holds_a_caller_no_longer_than_it_has_patience() {
    let key = TestKey::p256("k");
    for answer in [Answer::Hang, Answer::Drip] {
        let issuer = TestIssuer::start(&[&key]).await;
        let world = World::of(&issuer).await;
        issuer.answer_keys(answer);
        let started = std::time::Instant::now();
        let stranger = TestKey::p256("stranger").token(&claims(&issuer.url));
        assert_eq!(world.verdict(&stranger).await, "issuer_unavailable");
        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!(world.verdict(&key.token(&claims(&issuer.url))).await, "ok");
        // The fetch itself ends by its own limit.
        for _ in 0..80 {
            if world.issuers.status().remove(0).last_error.is_some() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let error = world.issuers.status().remove(0).last_error.unwrap();
        assert!(error.contains("within 5s"), "{error}");
    }
}

#[tokio::test]
async fn t13_one_new_kind_of_key_is_no_outage() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let mut set = jwks(&[&key]);
    set["keys"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "x"}));
    issuer.answer_keys(Answer::Json(set));
    let world = World::of(&issuer).await;
    assert_eq!(world.verdict(&key.token(&claims(&issuer.url))).await, "ok");
    assert_eq!(world.issuers.status().remove(0).skipped_keys, 1);
}

#[tokio::test]
async fn an_issuer_that_describes_another_is_not_used() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    for lie in ["https://evil.test".to_owned(), issuer.url.to_uppercase(), format!("{}//", issuer.url)] {
        issuer.answer_metadata(Answer::Json(
            json!({"issuer": lie, "jwks_uri": format!("{}/keys", issuer.url)}),
        ));
        let world = World::with(one(&issuer), quick());
        world.settled().await;
        let fault = world.bearer(&key.token(&claims(&issuer.url))).await.unwrap_err();
        assert_eq!(fault.code(), "issuer_unavailable", "{lie}");
        assert!(world.issuers.status().remove(0).last_error.unwrap().contains("describes issuer"));
    }
    assert_eq!(issuer.key_requests(), 0);
}

#[tokio::test]
async fn an_issuer_configured_without_its_final_slash_is_taken_in_the_form_of_its_metadata() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let own = format!("{}/", issuer.url);
    issuer.answer_metadata(Answer::Json(json!({"issuer": own, "jwks_uri": format!("{}/keys", issuer.url)})));
    let world = World::with(one(&issuer), quick());
    world.settled().await;
    assert_eq!(world.issuers.status().remove(0).effective_issuer.as_ref(), Some(&own));
    assert_eq!(world.bearer(&key.token(&claims(&own))).await.unwrap().issuer.as_ref(), Some(&own));
    assert_eq!(world.verdict(&key.token(&claims(&issuer.url))).await, "issuer_form");
}

#[tokio::test]
async fn keys_at_a_configured_address_are_fetched_without_discovery() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let mut provider = provider("idp", "acme", "https://name.test/", AUDIENCE);
    provider.jwks_url = Some(format!("{}/own/keys.json?v=1", issuer.url).parse().unwrap());
    let world = World::new(vec![provider]);
    world.settled().await;
    assert_eq!(world.verdict(&key.token(&claims("https://name.test/"))).await, "ok");
    assert_eq!(world.verdict(&key.token(&claims("https://name.test"))).await, "issuer_form");
    let request = issuer.last_request();
    assert!(request.starts_with("GET /own/keys.json?v=1 HTTP/1.1\r\n"), "{request}");
    let host = issuer.url.strip_prefix("http://").unwrap();
    for header in [&format!("host: {host}"), "accept: application/json", "user-agent: attach-gateway/"] {
        assert!(request.contains(header), "{request}");
    }
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn requests_on_other_threads_are_served_by_a_control_runtime_of_its_own() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let control = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || runtime.block_on(async { drop(stopped.await) }));
        (handle, stop, thread)
    });
    let (handle, stop, thread) = control.join().unwrap();
    let clock = Clock::Manual(Arc::new(AtomicI64::new(NOW * 1000)));
    let state = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(tls_config(), Guard::Operator);
    let issuers = Arc::new(Issuers::new(handle, state.path(), clock.clone(), fetcher));
    let snapshot = Arc::new(one(&issuer));
    issuers.apply(&snapshot);
    let cores: Vec<_> = (0..2)
        .map(|core| {
            let (issuers, snapshot, clock) = (Arc::clone(&issuers), Arc::clone(&snapshot), clock.clone());
            let mut claims = claims(&issuer.url);
            claims["sub"] = json!(format!("core-{core}"));
            let token = key.token(&claims);
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let used = Arc::new(UsedProofs::new(clock.now()));
                let identifier = Identifier::new(issuers, used, clock);
                let mut headers = HeaderMap::new();
                headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
                runtime
                    .block_on(identifier.identify(&head(headers.clone()), &snapshot))
                    .unwrap()
                    .subject
                    .clone()
            })
        })
        .collect();
    for (core, caller) in cores.into_iter().enumerate() {
        assert_eq!(caller.await.unwrap(), format!("core-{core}"));
    }
    drop(stop);
    thread.join().unwrap();
}

#[tokio::test]
async fn t11_keys_on_disk_are_as_old_as_they_are_and_serve_for_their_day_alone() {
    let key = TestKey::p256("k");
    let mut issuer = TestIssuer::start(&[&key]).await;
    let world = World::with(one(&issuer), quick());
    world.settled().await;
    issuer.go_down().await;
    let World { clock, state, .. } = world;
    clock.fetch_add(25 * 3600 * 1000, Ordering::Relaxed);
    let world = World::at(clock, one(&issuer), quick(), state);
    let mut claims = claims(&issuer.url);
    claims["exp"] = json!(NOW + 100 * 3600);
    assert_eq!(world.verdict(&key.token(&claims)).await, "issuer_unavailable");
}

#[tokio::test]
async fn t12_an_issuer_that_fails_is_asked_with_pauses() {
    let issuer = TestIssuer::start(&[&TestKey::p256("k")]).await;
    issuer.answer_metadata(Answer::Raw(http("500 Internal Server Error", "", b"")));
    let pace =
        Pace { first_retry: Duration::from_millis(200), last_retry: Duration::from_millis(400), ..quick() };
    let _world = World::with(one(&issuer), pace);
    sleep(Duration::from_secs(2)).await;
    // After 0, 0.2, 0.6, 1.0, 1.4 and 1.8 s, less what chance takes off a pause.
    let asked = issuer.requests();
    assert!((2..=20).contains(&asked), "{asked} times in two seconds");
}

#[tokio::test]
async fn t12_keys_that_are_too_old_are_no_fault_of_the_caller_who_is_told_when_to_try_again() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let mut claims = claims(&issuer.url);
    // The issuer was asked a moment ago, and is not asked again so soon.
    assert_eq!(world.verdict(&TestKey::p256("unknown").token(&claims)).await, "unknown_key");
    world.advance(Duration::from_secs(25 * 3600));
    claims["exp"] = json!(NOW + 100 * 3600);
    let fault = world.bearer(&key.token(&claims)).await.unwrap_err();
    assert_eq!(fault.code(), "issuer_unavailable");
    // The next question of its own accord is an hour away; whoever asks is looked up long before.
    assert_eq!(fault.retry_after(), Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn the_first_fetch_is_waited_for_and_is_no_look_up() {
    let provider = provider("idp", "acme", "https://idp.test/", AUDIENCE);
    let none_left = Arc::new(DemandBudget::new(0));
    let pace = Pace { patience: Duration::from_millis(10), ..quick() };
    let keys = IssuerKeys::new(Source::of(&provider), None, pace, none_left);
    assert_eq!(keys.renewed().await, Renewal::TimedOut);
}
