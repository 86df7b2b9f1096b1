//! Keys that come and go while the gateway serves, and strangers who try to make it ask.

use super::{
    issuer::{Answer, TestIssuer, jwks},
    mint::TestKey,
    *,
};
use std::time::Instant;

/// So slow that only a demand asks again.
fn patient() -> Pace {
    Pace { cool_down: Duration::from_secs(30), patience: Duration::from_secs(5), ..quick() }
}

#[tokio::test]
async fn t6_a_flood_of_unknown_key_ids_asks_each_issuer_once_and_keeps_good_callers_served() {
    let key = TestKey::p256("k");
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(TestIssuer::start(&[&key]).await);
    }
    let providers = all.iter().enumerate();
    let providers =
        providers.map(|(i, issuer)| provider(&format!("idp{i}"), "acme", &issuer.url, AUDIENCE)).collect();
    // The limit for all together would hide a missing one for each.
    let pace = Pace { demands_per_second: 100_000, ..patient() };
    let world = World::with(bundle(1, providers, Vec::new()), pace);
    world.settled().await;
    let before: Vec<usize> = all.iter().map(TestIssuer::key_requests).collect();
    for round in 0..100 {
        for issuer in &all {
            let header = json!({"alg": "ES256", "kid": format!("random-{round}")});
            let token = key.sign(&header.to_string(), &claims(&issuer.url).to_string(), "ES256");
            let verdict = world.verdict(&token).await;
            assert!(["unknown_key", "issuer_unavailable"].contains(&verdict), "{verdict}");
        }
        let mut claims = claims(&all[0].url);
        claims["sub"] = json!(format!("good-{round}"));
        assert_eq!(world.verdict(&key.token(&claims)).await, "ok");
    }
    for (issuer, before) in all.iter().zip(before) {
        assert!(issuer.key_requests() - before <= 1, "{} requests", issuer.key_requests() - before);
    }
}

#[tokio::test]
async fn t6_all_issuers_together_are_asked_ten_times_a_second() {
    let key = TestKey::p256("k");
    let mut all = Vec::new();
    for _ in 0..30 {
        all.push(TestIssuer::start(&[&key]).await);
    }
    let providers = all.iter().enumerate();
    let providers =
        providers.map(|(i, issuer)| provider(&format!("idp{i}"), "acme", &issuer.url, AUDIENCE)).collect();
    let world = World::with(bundle(1, providers, Vec::new()), patient());
    world.settled().await;
    let before: usize = all.iter().map(TestIssuer::key_requests).sum();
    let started = Instant::now();
    let mut refused = 0;
    for issuer in &all {
        let header = json!({"alg": "ES256", "kid": "random"});
        let token = key.sign(&header.to_string(), &claims(&issuer.url).to_string(), "ES256");
        refused += usize::from(world.verdict(&token).await == "issuer_unavailable");
    }
    let asked = all.iter().map(TestIssuer::key_requests).sum::<usize>() - before;
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!(asked <= 10 * seconds, "{asked} in {seconds} s");
    assert_eq!(asked + refused, 30, "who was not looked up is not told that the key is unknown");
}

#[tokio::test]
async fn a_second_unknown_key_is_looked_up_again_only_after_the_cool_down() {
    let (key, next) = (TestKey::p256("k"), TestKey::p256("next"));
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let token = next.token(&claims(&issuer.url));
    assert_eq!(world.verdict(&token).await, "unknown_key");
    issuer.publish(&[&key, &next]);
    let asked = issuer.key_requests();
    assert_eq!(world.verdict(&token).await, "unknown_key");
    assert_eq!(issuer.key_requests(), asked);
    sleep(quick().cool_down).await;
    assert_eq!(world.verdict(&token).await, "ok");
    assert_eq!(issuer.key_requests(), asked + 1);
}

#[tokio::test]
async fn t10_callers_notice_no_rotation_and_a_withdrawn_key_stops_at_once() {
    let (old, new) = (TestKey::p256("old"), TestKey::ed25519("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let world = World::of(&issuer).await;
    let by_old = old.token(&claims(&issuer.url));
    assert_eq!(world.verdict(&by_old).await, "ok");
    issuer.publish(&[&old, &new]);
    for round in 0..200 {
        let mut claims = claims(&issuer.url);
        claims["sub"] = json!(format!("caller-{round}"));
        let signer = if round % 2 == 0 { &new } else { &old };
        assert_eq!(world.verdict(&signer.token(&claims)).await, "ok");
        assert_eq!(world.verdict(&by_old).await, "ok");
    }
    issuer.publish(&[&new]);
    sleep(quick().cool_down).await;
    // Any reason to ask again will do; the cached verdict ends with the set that it was made with.
    let stranger = TestKey::p256("stranger").token(&claims(&issuer.url));
    assert_eq!(world.verdict(&stranger).await, "unknown_key");
    assert_eq!(world.verdict(&by_old).await, "unknown_key");
    assert_eq!(world.verdict(&new.token(&claims(&issuer.url))).await, "ok");
}

#[tokio::test]
async fn t10_a_second_rotation_is_looked_up_soon_after_the_first_and_strangers_gain_nothing_by_it() {
    let (first, second, third) = (TestKey::p256("first"), TestKey::p256("second"), TestKey::p256("third"));
    let issuer = TestIssuer::start(&[&first]).await;
    let pace = Pace { cool_down_after_change: Duration::from_secs(2), ..patient() };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    world.settled().await;
    let asked = issuer.key_requests();
    issuer.publish(&[&first, &second]);
    assert_eq!(world.verdict(&second.token(&claims(&issuer.url))).await, "ok");
    issuer.publish(&[&second, &third]);
    let by_third = third.token(&claims(&issuer.url));
    assert_eq!(world.verdict(&by_third).await, "unknown_key", "it was asked this very moment");
    sleep(pace.cool_down_after_change).await;
    assert_eq!(world.verdict(&by_third).await, "ok");
    assert_eq!(issuer.key_requests(), asked + 2);

    sleep(pace.cool_down_after_change).await;
    for number in 0..10 {
        let stranger = TestKey::p256(&format!("stranger-{number}")).token(&claims(&issuer.url));
        assert_eq!(world.verdict(&stranger).await, "unknown_key");
        sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(issuer.key_requests(), asked + 3, "without a change the pause is the long one");
}

#[tokio::test]
async fn t10_keys_are_renewed_in_the_background_without_any_caller() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let pace = Pace { refresh: Duration::from_millis(50), cool_down: Duration::from_secs(30), ..quick() };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    world.settled().await;
    issuer.publish(&[&new]);
    let asked = issuer.key_requests();
    eventually("two more renewals", || issuer.key_requests() > asked + 1).await;
    assert_eq!(world.verdict(&new.token(&claims(&issuer.url))).await, "ok");
    let header = json!({"alg": "ES256", "kid": "old"});
    let by_old = old.sign(&header.to_string(), &claims(&issuer.url).to_string(), "ES256");
    assert_eq!(world.verdict(&by_old).await, "unknown_key");
}

#[tokio::test]
async fn a_renewed_set_with_the_same_keys_keeps_the_verdicts() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let token = key.token(&claims(&issuer.url));
    let first = world.bearer(&token).await.unwrap();
    let stranger = TestKey::p256("stranger").token(&claims(&issuer.url));
    assert_eq!(world.verdict(&stranger).await, "unknown_key");
    assert!(Rc::ptr_eq(&first, &world.bearer(&token).await.unwrap()), "the verdict came from the cache");
}

#[tokio::test]
async fn a_hundred_callers_with_a_new_key_share_one_question() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), patient());
    world.settled().await;
    issuer.answer_keys(Answer::Slow(Duration::from_millis(100), jwks(&[&old, &new])));
    let asked = issuer.key_requests();
    let mut tokens = Vec::new();
    for caller in 0..100 {
        let mut claims = claims(&issuer.url);
        claims["sub"] = json!(format!("caller-{caller}"));
        tokens.push(new.token(&claims));
    }
    let world = Rc::new(world);
    let local = tokio::task::LocalSet::new();
    let callers: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let world = Rc::clone(&world);
            local.spawn_local(async move { world.verdict(&token).await })
        })
        .collect();
    local
        .run_until(async {
            for caller in callers {
                assert_eq!(caller.await.unwrap(), "ok");
            }
        })
        .await;
    assert_eq!(issuer.key_requests(), asked + 1);
}

#[tokio::test]
async fn t19_a_caller_that_leaves_while_keys_are_fetched_does_not_end_the_fetch() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let world = World::of(&issuer).await;
    issuer.answer_keys(Answer::Slow(Duration::from_millis(100), jwks(&[&old, &new])));
    let asked = issuer.key_requests();
    let token = new.token(&claims(&issuer.url));
    let left = tokio::time::timeout(Duration::from_millis(20), world.verdict(&token)).await;
    assert!(left.is_err());
    assert_eq!(world.verdict(&token).await, "ok", "it waited for the fetch of the one who left");
    assert_eq!(issuer.key_requests(), asked + 1);
}

#[tokio::test]
async fn issuers_that_stay_in_a_new_bundle_are_left_alone_and_those_that_go_are_forgotten() {
    let (key, other) = (TestKey::p256("k"), TestKey::p256("o"));
    let (staying, leaving) = (TestIssuer::start(&[&key]).await, TestIssuer::start(&[&other]).await);
    let stays = provider("stays", "acme", &staying.url, AUDIENCE);
    let mut world = World::new(vec![stays.clone(), provider("leaves", "acme", &leaving.url, AUDIENCE)]);
    world.settled().await;
    let (by_staying, by_leaving) = (key.token(&claims(&staying.url)), other.token(&claims(&leaving.url)));
    assert_eq!(world.verdict(&by_staying).await, "ok");
    assert_eq!(world.verdict(&by_leaving).await, "ok");
    let asked = staying.requests();

    world.snapshot = bundle(2, vec![stays], Vec::new());
    world.issuers.apply(&world.snapshot);
    assert_eq!(world.issuers.status().len(), 1);
    assert_eq!(world.verdict(&by_leaving).await, "unknown_issuer", "also from the cache");
    assert_eq!(world.verdict(&by_staying).await, "ok");
    assert_eq!(staying.requests(), asked);
    assert_eq!(world.headers(&[("x-api-key", "sk-good")]).await.unwrap_err().code(), "unknown_api_key");
}

#[tokio::test]
async fn an_issuer_that_is_gone_from_the_bundle_is_asked_no_more() {
    let issuer = TestIssuer::start(&[&TestKey::p256("k")]).await;
    let pace = Pace { refresh: Duration::from_millis(20), ..quick() };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    eventually("it is asked now and then", || issuer.requests() > 4).await;
    world.issuers.apply(&bundle(2, Vec::new(), Vec::new()));
    sleep(Duration::from_millis(100)).await;
    let asked = issuer.requests();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(issuer.requests(), asked);
}

#[tokio::test]
async fn t6_strangers_who_ask_for_unknown_keys_do_not_put_off_the_issuers_metadata() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let pace = Pace { refresh: Duration::from_millis(400), cool_down: Duration::from_millis(10), ..quick() };
    let pace = Pace { demands_per_second: 100_000, ..pace };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    world.settled().await;
    let of_metadata = || issuer.requests() - issuer.key_requests();
    let before = of_metadata();
    let started = Instant::now();
    for number in 0.. {
        let header = json!({"alg": "ES256", "kid": format!("random-{number}")});
        let token = key.sign(&header.to_string(), &claims(&issuer.url).to_string(), "ES256");
        let _ = world.verdict(&token).await;
        sleep(Duration::from_millis(15)).await;
        if started.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    assert!(of_metadata() >= before + 2, "{} times in two seconds", of_metadata() - before);
}

#[tokio::test]
async fn t6_a_verdict_ends_when_the_issuer_takes_another_form_of_its_name() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let pace = Pace { refresh: Duration::from_millis(100), ..quick() };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    world.settled().await;
    let token = key.token(&claims(&issuer.url));
    assert_eq!(world.verdict(&token).await, "ok");
    let other = format!("{}/", issuer.url);
    let metadata = json!({"issuer": other, "jwks_uri": format!("{}/keys", issuer.url)});
    issuer.answer_metadata(Answer::Json(metadata));
    eventually("the other form is known", || {
        world.issuers.status().remove(0).effective_issuer.as_ref() == Some(&other)
    })
    .await;
    assert_eq!(world.verdict(&token).await, "issuer_form", "also from the cache");
}
