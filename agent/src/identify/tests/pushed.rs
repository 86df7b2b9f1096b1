//! Keys that the control plane fetches: they come with the bundle, and what is missing is asked for by the stream.

use super::{issuer::jwks, mint::TestKey, *};
use crate::identify::{
    demand_budget::DemandBudget,
    issuer_keys::{Attempts, IssuerKeys, RenewFault, Renewal},
    pushed::Question,
};
use attach_proto::bundle::KeySource;
use tokio::{sync::mpsc, time::Instant};

const ISSUER: &str = "https://issuer.test";

/// As the control plane sends it: with these keys, or none.
fn sent(revision: u64, keys: &[&TestKey]) -> Snapshot {
    let mut provider = provider("idp", "acme", ISSUER, AUDIENCE);
    provider.key_source = KeySource::ControlPlane;
    provider.jwks = (!keys.is_empty()).then(|| jwks(keys).to_string().into());
    bundle(revision, vec![provider], Vec::new())
}

impl World {
    fn receive(&mut self, revision: u64, keys: &[&TestKey]) {
        self.snapshot = sent(revision, keys);
        self.issuers.apply(&self.snapshot);
    }

    fn questions(&self) -> mpsc::Receiver<Question> {
        self.issuers.line().open()
    }
}

#[tokio::test]
async fn a_withdrawn_key_stops_with_the_bundle_that_lacks_it_also_for_whom_was_verified_before() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let mut world = World::with(sent(1, &[&old, &new]), quick());
    let _questions = world.questions();
    let by_old = old.token(&claims(ISSUER));
    assert_eq!(world.verdict(&by_old).await, "ok");
    world.receive(2, &[&new]);
    assert_ne!(world.verdict(&by_old).await, "ok");
    assert_eq!(world.verdict(&new.token(&claims(ISSUER))).await, "ok");
    world.receive(3, &[]);
    assert_eq!(world.verdict(&new.token(&claims(ISSUER))).await, "issuer_unavailable");
    let status = world.issuers.status().pop().unwrap();
    assert_eq!((status.source.as_deref(), status.usable), (Some("control plane"), false));
}

#[tokio::test]
async fn what_was_verified_holds_while_the_same_keys_are_sent_and_no_longer() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let world = World::with(sent(1, &[&old, &new]), quick());
    let keys = world.issuers.keys_of(&world.snapshot.bundle().identity_providers[0]).unwrap();
    let generation = keys.held(world.now()).unwrap().generation;
    for (revision, sent_keys, holds) in [
        (2, &[&old, &new][..], true),
        (3, &[&new, &old], true),
        (4, &[&new], false),
        (5, &[&old, &new], false),
    ] {
        // A core may still serve by the bundle before.
        world.issuers.apply(&sent(revision, sent_keys));
        assert_eq!(keys.is_current(generation, world.now()), holds, "{revision}");
    }
}

#[tokio::test]
async fn an_operator_is_told_of_an_issuer_without_keys_until_the_bundle_that_brings_them() {
    let key = TestKey::p256("k");
    let mut world = World::with(sent(1, &[&key]), quick());
    let error = |world: &World| world.issuers.status().pop().unwrap().last_error;
    assert_eq!(error(&world), None);
    world.receive(2, &[]);
    let told = error(&world).unwrap();
    assert!(told.contains("has none that it could go by"), "{told}");
    world.receive(3, &[&key]);
    assert_eq!(error(&world), None);
}

#[tokio::test]
async fn a_second_provider_that_has_no_keys_yet_takes_none_from_the_first_of_the_same_issuer() {
    let key = TestKey::p256("k");
    let mut world = World::with(sent(1, &[&key]), quick());
    let _questions = world.questions();
    let provider_with = |id, keys: &[&TestKey]| {
        let mut one = provider(id, "acme", ISSUER, if keys.is_empty() { "other" } else { AUDIENCE });
        one.key_source = KeySource::ControlPlane;
        one.jwks = (!keys.is_empty()).then(|| jwks(keys).to_string().into());
        one
    };
    for providers in [
        vec![provider_with("a-neighbour", &[]), provider_with("idp", &[&key])],
        vec![provider_with("idp", &[&key]), provider_with("neighbour", &[])],
    ] {
        world.snapshot = bundle(2, providers, Vec::new());
        world.issuers.apply(&world.snapshot);
        assert_eq!(world.verdict(&key.token(&claims(ISSUER))).await, "ok");
    }
}

#[tokio::test]
async fn who_brings_an_unknown_key_waits_until_the_control_plane_has_sent_it() {
    let (old, new) = (TestKey::p256("old"), TestKey::p256("new"));
    let world = World::with(sent(1, &[&old]), Pace { patience: Duration::from_secs(5), ..quick() });
    let mut questions = world.questions();
    let issuers = Arc::clone(&world.issuers);
    let new_set = sent(2, &[&old, &new]);
    let control_plane = tokio::spawn(async move {
        let question = questions.recv().await.unwrap();
        assert_eq!((question.issuer.as_str(), &question.jwks_url), (ISSUER, &None));
        sleep(Duration::from_millis(50)).await;
        issuers.apply(&new_set);
        question.answer.send(Ok(())).unwrap();
    });
    assert_eq!(world.verdict(&new.token(&claims(ISSUER))).await, "ok");
    control_plane.await.unwrap();
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_one_question_and_keeps_good_callers_served() {
    let key = TestKey::p256("k");
    let world = World::with(sent(1, &[&key]), Pace { cool_down: Duration::from_secs(30), ..quick() });
    let mut questions = world.questions();
    let asked = tokio::spawn(async move {
        let mut asked = 0;
        while let Some(question) = questions.recv().await {
            asked += 1;
            question.answer.send(Ok(())).unwrap();
        }
        asked
    });
    for round in 0..100 {
        let header = json!({"alg": "ES256", "kid": format!("random-{round}")});
        let token = key.sign(&header.to_string(), &claims(ISSUER).to_string(), "ES256");
        assert_eq!(world.verdict(&token).await, "unknown_key");
        let mut claims = claims(ISSUER);
        claims["sub"] = json!(format!("good-{round}"));
        assert_eq!(world.verdict(&key.token(&claims)).await, "ok");
    }
    // The line ends with the other that is opened.
    let _other = world.questions();
    assert_eq!(asked.await.unwrap(), 1);
}

#[tokio::test]
async fn without_the_control_plane_known_keys_go_on_and_an_unknown_one_may_yet_be_there() {
    let (key, other) = (TestKey::p256("k"), TestKey::p256("o"));
    let world = World::with(sent(1, &[&key]), quick());
    let unknown = world.bearer(&other.token(&claims(ISSUER))).await.unwrap_err();
    assert!(unknown.to_string().contains("is away"), "{unknown}");
    assert!(unknown.retry_after().is_some());
    assert_eq!(world.verdict(&key.token(&claims(ISSUER))).await, "ok");
    // Back, it is asked again without anybody's wish, and what was wrong is over.
    let mut questions = world.questions();
    questions.recv().await.unwrap().answer.send(Ok(())).unwrap();
    eventually("the error is gone", || world.issuers.status().pop().unwrap().last_error.is_none()).await;
    drop(questions);
}

#[tokio::test]
async fn a_question_that_nobody_wished_is_counted_and_stands_for_one_that_somebody_wishes() {
    let pace = Pace { cool_down: Duration::from_secs(60), ..quick() };
    let source = Source::of(&sent(1, &[]).bundle().identity_providers[0]);
    let keys = IssuerKeys::pushed(source, pace, Arc::new(DemandBudget::new(10)));
    keys.begin_demand();
    keys.end_question(None, Instant::now());
    assert_eq!(keys.renewed().await, Renewal::CoolingDown);
    keys.begin_demand();
    keys.end_question(Some(RenewFault::ControlPlaneAway), Instant::now());
    assert_eq!(keys.state().attempts, Attempts { good: 1, failed: 1 });
}

#[tokio::test]
async fn what_the_control_plane_could_not_ask_is_not_said_to_be_missing() {
    let (key, other) = (TestKey::p256("k"), TestKey::p256("o"));
    let world = World::with(sent(1, &[&key]), quick());
    let mut questions = world.questions();
    let control_plane = tokio::spawn(async move {
        let question = questions.recv().await.unwrap();
        question.answer.send(Err("GET keys: cannot connect".to_owned())).unwrap();
    });
    let fault = world.bearer(&other.token(&claims(ISSUER))).await.unwrap_err();
    assert_eq!(fault.code(), "issuer_unavailable");
    assert!(fault.to_string().contains("cannot connect"), "{fault}");
    control_plane.await.unwrap();
}
