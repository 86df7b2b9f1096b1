//! What operators are told: of a token the times that it has, of an issuer how its keys stand.

use super::{
    issuer::{Answer, jwks},
    mint::TestKey,
    *,
};
use crate::identify::check_key_sets;
use attach_proto::bundle::KeySource;

#[tokio::test]
async fn a_fault_of_time_tells_the_token_s_own_time_in_seconds() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let mut provider = provider("idp", "acme", &issuer.url, AUDIENCE);
    provider.max_age = Some(Duration::from_secs(3600));
    let world = World::new(vec![provider]);
    world.settled().await;
    for (claim, at, code) in [
        ("exp", NOW - 1000, "expired"),
        ("nbf", NOW + 1000, "not_yet_valid"),
        ("iat", NOW + 1000, "issued_in_future"),
        ("iat", NOW - 10_000, "too_old"),
    ] {
        let mut claims = claims(&issuer.url);
        claims[claim] = json!(at);
        let fault = world.bearer(&key.token(&claims)).await.unwrap_err();
        assert_eq!(fault.code(), code);
        assert!(
            fault.to_string().starts_with(&format!("`{claim}` is {at}, the clock here 2027-")),
            "{fault}"
        );
    }
}

/// One whose keys came with the bundle: they are never old.
fn given() -> IdentityProvider {
    let mut given = provider("given", "acme", "http://127.0.0.1:1", AUDIENCE);
    given.jwks = Some(jwks(&[&TestKey::p256("k")]).to_string().into());
    given
}

async fn have_keys(world: &World) {
    eventually("all have keys", || world.issuers.status().iter().all(|it| it.keys > 0)).await;
}

#[tokio::test]
async fn issuers_in_trouble_are_told_first_and_no_more_than_are_asked_for() {
    let key = TestKey::p256("k");
    let mut issuer = TestIssuer::start(&[&key]).await;
    let pace = Pace { refresh: Duration::from_secs(1), ..quick() };
    let providers = vec![given(), provider("idp", "acme", &issuer.url, AUDIENCE)];
    let world = World::with(bundle(1, providers, Vec::new()), pace);
    have_keys(&world).await;
    let first = || world.issuers.status_of(1).remove(0).issuer;
    assert_eq!(world.issuers.status_of(10).len(), 2);
    assert_eq!(world.issuers.status_of(1).len(), 1);
    assert_eq!(first(), "http://127.0.0.1:1", "by name, where all is well");
    issuer.go_down().await;
    eventually("it is missed", || world.issuers.status().iter().any(|it| it.last_error.is_some())).await;
    assert_eq!(first(), issuer.url, "its keys are good, and it fails");
}

#[tokio::test]
async fn an_operator_is_told_where_the_keys_of_an_issuer_come_from() {
    let by_metadata = provider("metadata", "acme", "http://127.0.0.1:2", AUDIENCE);
    let mut by_address = provider("address", "acme", "http://127.0.0.1:3", AUDIENCE);
    by_address.jwks_url = Some("http://127.0.0.1:4/keys".parse().unwrap());
    let mut pushed = provider("pushed", "acme", "http://127.0.0.1:5", AUDIENCE);
    pushed.key_source = KeySource::ControlPlane;
    let world = World::new(vec![given(), by_metadata, by_address, pushed]);
    let sources: Vec<_> = world.issuers.status().into_iter().map(|it| it.source).collect();
    let expected = [Some("bundle"), None, Some("http://127.0.0.1:4/keys"), Some("control plane")];
    assert_eq!(sources, expected.map(|it| it.map(str::to_owned)));
}

#[tokio::test]
async fn keys_are_old_once_they_should_have_been_renewed_and_by_a_clock_that_went_back_they_are_not() {
    let issuer = TestIssuer::start(&[&TestKey::p256("k")]).await;
    let providers = vec![given(), provider("idp", "acme", &issuer.url, AUDIENCE)];
    let world = World::with(bundle(1, providers, Vec::new()), quick());
    have_keys(&world).await;
    let stands = || {
        let status = world.issuers.status().into_iter().find(|it| it.issuer == issuer.url).unwrap();
        (status.usable, status.stale)
    };
    for (seconds, expected) in [(3600, (true, false)), (3601, (true, true)), (-7200, (true, false))] {
        world.clock.store((NOW + seconds) * 1000, Ordering::Relaxed);
        assert_eq!(stands(), expected, "{seconds} s");
    }
    world.clock.store((NOW + 3601) * 1000, Ordering::Relaxed);
    assert_eq!(world.issuers.status_of(1).remove(0).issuer, issuer.url, "the old ones first");
}

#[tokio::test]
async fn a_key_set_of_the_bundle_in_which_nothing_can_be_used_is_named() {
    let good = bundle(1, vec![given()], Vec::new());
    assert_eq!(check_key_sets(good.bundle()), Ok(()));
    let mut bad = given();
    bad.jwks = Some(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.into());
    let fault = check_key_sets(bundle(1, vec![given(), bad], Vec::new()).bundle()).unwrap_err();
    assert_eq!(fault.path, "identity_providers[1].jwks");
    assert!(fault.problem.contains("symmetric"), "{fault}");
}

#[tokio::test]
async fn a_caller_who_comes_while_keys_are_renewed_waits_for_that_and_asks_for_nothing() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let pace = Pace {
        refresh: Duration::from_millis(200),
        patience: Duration::from_secs(5),
        demands_per_second: 0,
        ..quick()
    };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    world.settled().await;
    issuer.answer_keys(Answer::Slow(Duration::from_millis(500), jwks(&[&old, &new])));
    let asked = issuer.key_requests();
    eventually("they are renewed", || issuer.key_requests() > asked).await;
    assert_eq!(world.verdict(&new.token(&claims(&issuer.url))).await, "ok");
}

#[tokio::test]
async fn a_caller_who_came_too_late_for_the_answer_under_way_has_the_issuer_asked_once_more() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let issuer = TestIssuer::start(&[&old]).await;
    let pace = Pace { refresh: Duration::from_millis(200), patience: Duration::from_secs(5), ..quick() };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    world.settled().await;
    // What is under way has the old key alone.
    issuer.answer_keys(Answer::Slow(Duration::from_millis(500), jwks(&[&old])));
    let asked = issuer.key_requests();
    eventually("they are renewed", || issuer.key_requests() > asked).await;
    issuer.publish(&[&old, &new]);
    assert_eq!(world.verdict(&new.token(&claims(&issuer.url))).await, "ok");
}

#[tokio::test]
async fn each_question_to_an_issuer_is_counted_by_how_it_ended() {
    let mut issuer = TestIssuer::start(&[&TestKey::p256("k")]).await;
    let pace = Pace { refresh: Duration::from_millis(50), ..quick() };
    let world =
        World::with(bundle(1, vec![provider("idp", "acme", &issuer.url, AUDIENCE)], Vec::new()), pace);
    let attempts = || world.issuers.status().remove(0).attempts;
    eventually("two good ones", || attempts().good >= 2).await;
    assert_eq!(attempts().failed, 0);
    issuer.go_down().await;
    eventually("two that failed", || attempts().failed >= 2).await;
    assert!(attempts().good >= 2);
}
