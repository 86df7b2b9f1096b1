//! The life of an API key: made with what it may do, rotated, used, revoked.

use super::*;
use crate::domain::{api_key::ApiKey, key_scope::KeyScope};
use jiff::SignedDuration;

const DAY: SignedDuration = SignedDuration::from_hours(24);

async fn world() -> Option<(World, ApiKey)> {
    let world = World::with_tenants(&["acme"]).await?;
    let (key, _) = issue_key(&world.db, &world.operator, &id("acme"), new_key("ci"), now()).await.unwrap();
    Some((world, key))
}

impl World {
    async fn rotate(&self, key: &ApiKey, overlap: SignedDuration, at: Timestamp) -> Result<ApiKey, OpError> {
        let rotated = rotate_key(&self.db, &self.operator, &id("acme"), &key.id, overlap, at).await;
        rotated.map(|(key, text)| {
            let kept = format!("select sha256 = sha256('{}') from api_key", text.as_str());
            assert_eq!(self.test.as_superuser(&kept), Ok("t".to_owned()));
            assert!(!self.test.dump().contains(text.as_str().rsplit('_').next().unwrap()));
            key
        })
    }

    fn secrets(&self) -> (String, String) {
        let read = |column: &str| {
            let query = format!("select encode({column}, 'hex') from api_key");
            self.test.as_superuser(&query).unwrap()
        };
        (read("sha256"), read("previous_sha256"))
    }
}

#[tokio::test]
async fn a_key_has_the_scopes_models_and_limits_that_it_was_made_with() {
    let Some(world) = World::with_tenants(&["acme"]).await else { return };
    let limit = |measure, amount| KeyLimit {
        counter: Counter::Shared,
        measure,
        amount,
        window: Duration::from_secs(60),
    };
    let new = NewKey {
        scopes: vec![KeyScope::Inference, KeyScope::ActAs],
        models: vec!["llama3".parse().unwrap()],
        limits: vec![limit(Measure::Requests, 5), limit(Measure::TotalTokens, 1_000)],
        ..new_key("webui")
    };
    let (key, _) = issue_key(&world.db, &world.operator, &id("acme"), new.clone(), now()).await.unwrap();
    assert_eq!(
        world.test.as_superuser("select scopes, models from api_key"),
        Ok("{inference,act_as}|{llama3}".to_owned())
    );
    let limits = "select id, counter, measure, amount, keys, version = (select version from api_key) from usage_limit order by id";
    let of_key =
        |number: usize, rest: &str| format!("key-{}-{number}|shared|{rest}|{{{}}}|t", key.id, key.id);
    let expected = [of_key(1, "requests|5"), of_key(2, "total_tokens|1000")].join("\n");
    assert_eq!(world.test.as_superuser(limits), Ok(expected));

    let usual = issue_key(&world.db, &world.operator, &id("acme"), new_key("ci"), now()).await.unwrap().0;
    assert_eq!(usual.scopes, KeyScope::USUAL);

    let before = world.test.dump();
    for (limits, path) in [
        (vec![limit(Measure::Requests, 5), limit(Measure::Requests, 0)], "limits[1].amount"),
        (
            vec![KeyLimit { window: Duration::from_millis(10), ..limit(Measure::Requests, 5) }],
            "limits[0].window",
        ),
    ] {
        let new = NewKey { limits, ..new.clone() };
        let refused = issue_key(&world.db, &world.operator, &id("acme"), new, now()).await;
        let Err(OpError::Contract(invalid)) = refused else { panic!("{path}") };
        assert_eq!(invalid.path, path);
    }
    let many = NewKey { limits: vec![limit(Measure::Requests, 5); MAX_KEY_LIMITS + 1], ..new.clone() };
    let many = issue_key(&world.db, &world.operator, &id("acme"), many, now()).await;
    assert!(matches!(many, Err(OpError::Invalid { field: "limits", .. })), "{many:?}");
    let by_agent = Actor::Agent("agent-1".parse().unwrap());
    let by_agent = issue_key(&world.db, &by_agent, &id("acme"), new, now()).await;
    assert!(matches!(by_agent, Err(OpError::Invalid { field: "scopes", .. })), "{by_agent:?}");
    assert_eq!(world.test.dump(), before);

    revoke_key(&world.db, &world.operator, &id("acme"), &key.id).await.unwrap();
    assert_eq!(world.test.as_superuser("select count(*) from usage_limit"), Ok("0".to_owned()));
    let ended = "select count(*) from audit_entry where action = 'remove_limit'";
    assert_eq!(world.test.as_superuser(ended), Ok("2".to_owned()));
}

#[tokio::test]
async fn a_rotated_key_keeps_its_first_secret_for_the_overlap_and_all_else_for_good() {
    let Some((world, key)) = world().await else { return };
    let (first, _) = world.secrets();
    let before = world.revision();
    let rotated = world.rotate(&key, DAY, now()).await.unwrap();
    assert_eq!(rotated, ApiKey { previous_until: Some(now() + DAY), ..key.clone() });
    assert!(world.revision() > before, "the agents hear of it");
    let (second, previous) = world.secrets();
    assert!(second != first && previous == first);

    let under_way = world.rotate(&key, DAY, now() + DAY - SignedDuration::from_millis(1)).await;
    assert!(matches!(under_way, Err(OpError::Invalid { field: "overlap", .. })), "{under_way:?}");
    assert_eq!(world.secrets(), (second.clone(), first));

    world.rotate(&key, DAY, now() + DAY).await.unwrap();
    assert_eq!(world.secrets().1, second);
    let trail = "select count(*) from audit_entry where action = 'rotate_key'";
    assert_eq!(world.test.as_superuser(trail), Ok("2".to_owned()));
}

#[tokio::test]
async fn a_leaked_secret_ends_at_once_also_while_a_rotation_is_under_way() {
    let Some((world, key)) = world().await else { return };
    world.rotate(&key, DAY, now()).await.unwrap();
    let leaked = world.secrets();
    let rotated = world.rotate(&key, SignedDuration::ZERO, now()).await.unwrap();
    assert_eq!(rotated.previous_until, None);
    let (sha256, previous) = world.secrets();
    assert!(sha256 != leaked.0 && previous.is_empty());
}

#[tokio::test]
async fn a_key_that_has_ended_gets_no_new_secret() {
    let Some(world) = World::with_tenants(&["acme"]).await else { return };
    let new = NewKey { expires_at: Some(now() + DAY), ..new_key("ci") };
    let (key, _) = issue_key(&world.db, &world.operator, &id("acme"), new, now()).await.unwrap();
    let before = world.secrets();
    for overlap in [MAX_OVERLAP + SignedDuration::from_secs(1), -DAY] {
        let refused = world.rotate(&key, overlap, now()).await;
        assert!(matches!(refused, Err(OpError::Invalid { field: "overlap", .. })), "{refused:?}");
    }
    let expired = world.rotate(&key, SignedDuration::ZERO, now() + DAY).await;
    assert!(matches!(expired, Err(OpError::Invalid { field: "expires_at", .. })), "{expired:?}");
    revoke_key(&world.db, &world.operator, &id("acme"), &key.id).await.unwrap();
    let revoked = world.rotate(&key, DAY, now()).await;
    assert!(matches!(revoked, Err(OpError::NotFound("key"))), "{revoked:?}");
    assert_eq!(world.secrets(), before);
}
