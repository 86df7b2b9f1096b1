use super::{agent::Stream, *};
use crate::db::{TenantTx, heads, limits, pools};
use crate::ops::{
    add_tenant_to_pool, issue_key, remove_tenant_from_pool, revoke_agent, revoke_key, set_limit, set_model,
};
use attach_proto::{
    resources::{FEATURES, Resources},
    v1::{Heartbeat, ResourceKind, from_agent::Message as Say, to_agent::Message as Said},
};
use std::time::{Duration, Instant};
use tonic::Code;

fn state(front: &Front, columns: &str) -> String {
    front.world.test.as_superuser(&format!("select {columns} from agent_state")).unwrap()
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !check().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_change_reaches_an_agent_and_what_it_answers_is_on_record() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let mut stream = agent.follow().await.unwrap();
    stream.apply().await.unwrap();
    let kinds: Vec<i32> = stream.resources.iter().map(|(name, _)| name.kind).collect();
    let (tenant, store) = (i32::from(ResourceKind::Tenant), i32::from(ResourceKind::QuotaStore));
    assert_eq!(kinds, [tenant, tenant, store]);

    set_limit(&front.world.db, &front.world.operator, &limit("acme", 100)).await.unwrap();
    stream.apply().await.unwrap();
    let bundle = stream.resources.bundle(attach_proto::id::Revision(stream.revision)).unwrap();
    assert_eq!((bundle.limits[0].tenant.as_str(), bundle.limits[0].amount), ("acme", 100));
    eventually("the revision is on record", async || {
        state(&front, "applied_revision") == stream.revision.to_string()
    })
    .await;

    set_limit(&front.world.db, &front.world.operator, &limit("acme", 7)).await.unwrap();
    let nonce = stream.receive().await.unwrap();
    stream.answer(nonce, "limits[acme/tokens].window: is odd").await;
    eventually("the refusal is on record", async || {
        state(&front, "refused_revision, refusal")
            == format!("{}|limits[acme/tokens].window: is odd", stream.revision)
    })
    .await;
    // The next one may be better, and is taken from what the agent serves, which is the one before.
    set_limit(&front.world.db, &front.world.operator, &limit("acme", 8)).await.unwrap();
    stream.apply().await.unwrap();
    eventually("it serves the next one", async || state(&front, "refusal is null") == "t").await;
}

/// The amounts of the limits in force, by tenant.
fn amounts(stream: &Stream) -> Vec<(String, u64)> {
    let bundle = stream.resources.bundle(attach_proto::id::Revision(stream.revision)).unwrap();
    bundle.limits.iter().map(|limit| (limit.tenant.to_string(), limit.amount)).collect()
}

/// What a change does, up to its commit.
async fn change(tx: &mut TenantTx, amount: u64) {
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await.unwrap();
    limits::put(connection, &limit(tenant.as_str(), amount), version).await.unwrap();
    pools::touch_those_of(connection, tenant, version).await.unwrap();
}

#[tokio::test]
async fn of_changes_that_commit_in_the_reverse_order_of_their_beginning_no_agent_loses_one() {
    let Some(front) = Front::start().await else { return };
    let World { db, operator, .. } = &front.world;
    let agent = front.agent().await;
    let mut stream = agent.follow().await.unwrap();
    stream.apply().await.unwrap();

    // The first has read what is there before the second begins, and writes when the second has been applied.
    let mut first = db.tenant(id("acme")).await.unwrap();
    let (connection, tenant) = first.parts();
    assert_eq!(limits::find(connection, tenant, &"tokens".parse().unwrap()).await.unwrap(), None);
    set_limit(db, operator, &limit("globex", 7)).await.unwrap();
    stream.apply().await.unwrap();
    assert_eq!(amounts(&stream), [("globex".to_owned(), 7)]);
    let of_the_second = stream.revision;
    change(&mut first, 5).await;
    first.commit().await.unwrap();
    stream.apply().await.unwrap();
    assert_eq!(amounts(&stream), [("acme".to_owned(), 5), ("globex".to_owned(), 7)]);
    assert!(stream.revision > of_the_second);

    // The first has its number already when the second comes, which therefore can't commit before it.
    let mut first = db.tenant(id("acme")).await.unwrap();
    change(&mut first, 6).await;
    let second = tokio::spawn({
        let (db, operator) = (db.clone(), operator.clone());
        async move { set_limit(&db, &operator, &limit("globex", 8)).await }
    });
    tokio::time::timeout(Duration::from_millis(300), stream.receive())
        .await
        .expect_err("nothing is committed");
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
    let both = [("acme".to_owned(), 6), ("globex".to_owned(), 8)];
    while amounts(&stream) != both {
        stream.apply().await.unwrap();
    }
    // One that was away all the time finds the same.
    let mut fresh = front.agent().await.follow().await.unwrap();
    fresh.apply().await.unwrap();
    assert_eq!((amounts(&fresh), fresh.revision), (both.to_vec(), stream.revision));
}

#[tokio::test]
async fn an_agent_that_comes_back_gets_what_it_lacks() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let (key, _) =
        issue_key(&front.world.db, &front.world.operator, &id("acme"), new_key("a"), now()).await.unwrap();
    let mut first = agent.follow().await.unwrap();
    first.apply().await.unwrap();
    let held = first.resources.clone();
    drop(first);
    revoke_key(&front.world.db, &front.world.operator, &id("acme"), &key.id).await.unwrap();
    let mut again = agent.follow_from(held.clone(), &FEATURES).await.unwrap();
    again.apply().await.unwrap();
    // The revision before may still be the newest that the door knows.
    while again.resources.len() == held.len() {
        assert!(again.bytes < 400, "{} bytes", again.bytes);
        again.apply().await.unwrap();
    }
    assert_eq!(again.resources.len(), held.len() - 1);
    assert!(again.bytes < 400, "{} bytes", again.bytes);
}

#[tokio::test]
async fn ten_thousand_keys_fit_and_a_change_of_one_is_small() {
    let Some(front) = Front::start().await else { return };
    front
        .world
        .test
        .as_superuser(
            "insert into api_key (tenant_id, id, name, sha256, owner, created_at, version)
         select 'acme', 'key-' || n, 'key ' || n, sha256(n::text::bytea), 'owner-' || n, now(), 1
         from generate_series(1, 10000) n",
        )
        .unwrap();
    let agent = front.agent().await;
    let mut stream = agent.follow().await.unwrap();
    stream.apply().await.unwrap();
    assert_eq!(stream.resources.len(), 10_000 + 3);
    println!(
        "first connect with 10,000 keys: {} bytes, the largest message {}",
        stream.bytes, stream.largest
    );
    assert!(stream.largest < 1_200_000, "{} bytes", stream.largest);

    let began = Instant::now();
    issue_key(&front.world.db, &front.world.operator, &id("acme"), new_key("a"), now()).await.unwrap();
    stream.apply().await.unwrap();
    println!("one more key: {} bytes after {:?}", stream.bytes, began.elapsed());
    assert!(stream.bytes < 2048, "{} bytes", stream.bytes);
    let held = stream.resources.clone();
    drop(stream);
    let mut again = agent.follow_from(held, &FEATURES).await.unwrap();
    again.apply().await.unwrap();
    assert!(again.bytes < 2048, "{} bytes", again.bytes);
}

#[tokio::test]
async fn an_agent_that_can_not_do_what_its_pool_needs_is_sent_nothing_and_shown_as_too_old() {
    let Some(front) = Front::start().await else { return };
    set_limit(&front.world.db, &front.world.operator, &limit("acme", 100)).await.unwrap();
    let agent = front.agent().await;
    let can: Vec<&str> = FEATURES.into_iter().filter(|feature| *feature != "limit.2").collect();
    let mut stream = agent.follow_from(Resources::default(), &can).await.unwrap();
    eventually("it is shown as too old", async || state(&front, "missing_features") == "{limit.2}").await;
    stream.say(Say::Heartbeat(Heartbeat::default())).await;
    let first = stream.hear().await.unwrap();
    assert!(matches!(first, Some(Said::HeartbeatReply(_))), "{first:?}");
}

#[tokio::test]
async fn a_heartbeat_is_answered_with_the_time_and_kept() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let mut stream = agent.follow().await.unwrap();
    stream.apply().await.unwrap();
    let sent_at = attach_proto::timestamp("2020-01-01T00:00:00Z".parse().unwrap());
    let heartbeat = Heartbeat {
        sent_at: Some(sent_at),
        applied_revision: stream.revision,
        clock_offset: Some(pbjson_types::Duration { seconds: -2, nanos: -500_000_000 }),
        upstreams: vec![attach_proto::v1::UpstreamHealth {
            upstream: "local".to_owned(),
            models: vec!["llama3".to_owned()],
            problem: String::new(),
        }],
        unacknowledged_events: 5,
        issuers: vec![attach_proto::v1::IssuerHealth {
            issuer: "https://login.example".to_owned(),
            keys: 2,
            usable: true,
            ..Default::default()
        }],
    };
    stream.say(Say::Heartbeat(heartbeat)).await;
    let Some(Said::HeartbeatReply(reply)) = stream.hear().await.unwrap() else { panic!("a reply") };
    assert_eq!(reply.sent_at, Some(sent_at));
    assert_eq!(reply.received_at, Some(attach_proto::timestamp(front.door.clock.now())));
    let kept = r#"-2500|5|[{"models": ["llama3"], "upstream": "local"}]|[{"keys": 2, "issuer": "https://login.example", "usable": true}]"#;
    eventually("it is kept", async || {
        state(&front, "clock_offset_ms, unacknowledged_events, health, issuers") == kept
    })
    .await;
    drop(stream);
    eventually("it is gone", async || state(&front, "disconnected_at is not null") == "t").await;
}

/// It noticed the loss of its old connection first.
#[tokio::test]
async fn the_end_of_an_agents_old_stream_does_not_make_it_look_gone() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let mut old = agent.follow().await.unwrap();
    old.apply().await.unwrap();
    let mut new = agent.follow().await.unwrap();
    new.apply().await.unwrap();
    drop(old);
    // Long enough for the old one's last word.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(state(&front, "disconnected_at is null"), "t");
    drop(new);
    eventually("it is gone", async || state(&front, "disconnected_at is not null") == "t").await;
}

#[tokio::test]
async fn a_revoked_agents_stream_closes_and_does_not_open_again() {
    let Some(front) = Front::start().await else { return };
    let (agent, other) = (front.agent().await, front.agent().await);
    let mut stream = agent.follow().await.unwrap();
    let mut of_other = other.follow().await.unwrap();
    stream.apply().await.unwrap();
    of_other.apply().await.unwrap();
    let began = Instant::now();
    revoke_agent(&front.world.db, &front.world.operator, &agent.name.parse().unwrap()).await.unwrap();
    let ended = stream.hear().await.unwrap_err();
    println!("a revoked agent's stream closed after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((ended.code(), ended.message()), (Code::PermissionDenied, "the agent was revoked"));
    let mut again = agent.follow().await.unwrap();
    assert_eq!(again.hear().await.unwrap_err().code(), Code::PermissionDenied);
    let reported = agent.report(&uuid::Uuid::now_v7().to_string(), 1, &[Vec::new()]).await;
    assert_eq!(reported.unwrap_err().code(), Code::PermissionDenied);

    set_limit(&front.world.db, &front.world.operator, &limit("acme", 100)).await.unwrap();
    of_other.apply().await.unwrap();
}

/// As after a restore of a backup from before it joined.
#[tokio::test]
async fn an_agent_that_is_not_on_record_is_told_so_and_not_that_it_was_revoked() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let forget = "set session_replication_role = replica; delete from agent_state; delete from agent";
    front.world.test.as_superuser(forget).unwrap();
    let mut stream = agent.follow().await.unwrap();
    let refused = stream.receive().await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("does not know the agent"), "{refused}");
    let refused = agent.report(&uuid::Uuid::now_v7().to_string(), 1, &[Vec::new()]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn an_agent_holds_only_the_tenants_of_its_own_pool() {
    let Some(front) = Front::start().await else { return };
    let World { db, operator, .. } = &front.world;
    let side = "side".parse().unwrap();
    crate::ops::create_pool(db, operator, &side, "Elsewhere").await.unwrap();
    crate::ops::create_tenant(db, operator, &tenant("umbrella"), &side).await.unwrap();
    issue_key(db, operator, &id("umbrella"), new_key("u"), now()).await.unwrap();
    set_limit(db, operator, &limit("umbrella", 5)).await.unwrap();
    let agent = front.agent().await;
    let mut stream = agent.follow().await.unwrap();
    stream.apply().await.unwrap();
    let held = format!("{:?}", stream.resources);
    assert!(held.contains("acme") && !held.contains("umbrella"), "{held}");
}

/// A model that some tenants may see names in the bundle only those of the pool.
#[tokio::test]
async fn a_tenant_that_comes_or_goes_changes_what_is_said_of_the_models_that_it_may_see() {
    let Some(front) = Front::start().await else { return };
    let World { db, operator, .. } = &front.world;
    let model = attach_proto::bundle::Model {
        name: "chat".parse().unwrap(),
        aliases: Vec::new(),
        targets: vec![attach_proto::bundle::ModelTarget {
            upstream: "gpu".parse().unwrap(),
            engine_model: "llama3".parse().unwrap(),
        }],
        max_output_tokens: None,
        tenants: vec![id("acme"), id("globex")],
    };
    set_model(db, operator, &pool(), &model).await.unwrap();
    let agent = front.agent().await;
    let mut stream = agent.follow().await.unwrap();
    stream.apply().await.unwrap();
    let seen = |stream: &super::agent::Stream| {
        let bundle = stream.resources.bundle(attach_proto::id::Revision(stream.revision)).unwrap();
        bundle.models.into_iter().map(|model| model.tenants).collect::<Vec<_>>()
    };
    assert_eq!(seen(&stream), [["acme", "globex"]]);
    let held = stream.resources.clone();

    remove_tenant_from_pool(db, operator, &pool(), &id("globex")).await.unwrap();
    stream.apply().await.unwrap();
    assert_eq!(seen(&stream), [["acme"]]);
    // One that was away for that.
    let mut again = agent.follow_from(held, &FEATURES).await.unwrap();
    again.apply().await.unwrap();
    assert_eq!(seen(&again), [["acme"]]);
    // Nobody is left who may see it, so it is not there, rather than there for all.
    remove_tenant_from_pool(db, operator, &pool(), &id("acme")).await.unwrap();
    stream.apply().await.unwrap();
    assert_eq!(seen(&stream), [[""; 0]; 0]);
    add_tenant_to_pool(db, operator, &pool(), &id("globex")).await.unwrap();
    stream.apply().await.unwrap();
    assert_eq!(seen(&stream), [["globex"]]);
}
