use super::*;
use attach_proto::v1::{
    MeasureSource, MeasuredQuantity, Outcome, PrincipalKind, PrincipalSnapshot, UsageEvent,
};
use jiff::SignedDuration;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

pub(super) fn event(tenant: &str, subject: &str, output: u64) -> UsageEvent {
    UsageEvent {
        event_id: Uuid::now_v7().to_string(),
        occurred_at: Some(attach_proto::timestamp(Clock::System.now())),
        tenant: tenant.to_owned(),
        agent: "whatever-it-says".to_owned(),
        request_id: "r-1".to_owned(),
        operation: "chat".to_owned(),
        dialect: "ollama".to_owned(),
        model: "llama3".to_owned(),
        principal: Some(PrincipalSnapshot {
            kind: PrincipalKind::User.into(),
            subject: subject.to_owned(),
            issuer: "https://id.example".to_owned(),
            groups: vec!["staff".to_owned()],
            ..PrincipalSnapshot::default()
        }),
        measures: vec![measure("output_tokens", output), measure("input_tokens", 2 * output)],
        outcome: Outcome::Complete.into(),
        http_status: 200,
        duration: Some(pbjson_types::Duration { seconds: 1, nanos: 0 }),
        ..UsageEvent::default()
    }
}

fn measure(kind: &str, quantity: u64) -> MeasuredQuantity {
    MeasuredQuantity { kind: kind.to_owned(), quantity, source: MeasureSource::Engine.into() }
}

pub(super) fn encoded(events: &[UsageEvent]) -> Vec<Vec<u8>> {
    events.iter().map(UsageEvent::encode_to_vec).collect()
}

pub(super) fn spool() -> String {
    Uuid::now_v7().to_string()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

impl Front {
    fn ledger(&self) -> String {
        self.world.test.as_superuser(
            "select count(*), count(distinct event_id), coalesce(sum((measures->0->>'quantity')::bigint), 0) from usage_event",
        )
        .unwrap()
    }

    fn sums(&self) -> String {
        self.world
            .test
            .as_superuser(
                "select tenant_id, subject, kind, sum(quantity), sum(requests) from usage_hour
             group by tenant_id, subject, kind order by 1, 2, 3",
            )
            .unwrap()
    }
}

#[tokio::test]
async fn lost_acknowledgements_doubled_and_overlapping_batches_count_each_event_once() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let spool = spool();
    let mut events: Vec<_> = (1..=11).map(|n| event("acme", "alice", n)).collect();
    events[10].measures.clear();
    let events = encoded(&events);
    assert_eq!(agent.report(&spool, 1, &events[..4]).await.unwrap(), 4);
    // The acknowledgement was lost.
    assert_eq!(agent.report(&spool, 1, &events[..4]).await.unwrap(), 4);
    assert_eq!(agent.report(&spool, 3, &events[2..8]).await.unwrap(), 8);
    // An older batch comes late.
    assert_eq!(agent.report(&spool, 2, &events[1..3]).await.unwrap(), 8);
    assert_eq!(agent.report(&spool, 9, &events[8..]).await.unwrap(), 11);
    assert_eq!(front.ledger(), "11|11|55");
    // The sums of the requests are those of the events, the one that measured nothing too.
    let sums = "acme|alice||0|1\nacme|alice|input_tokens|110|0\nacme|alice|output_tokens|55|10";
    assert_eq!(front.sums(), sums);
    assert_eq!(front.alarms(), "");
    let taken = front.world.test.as_superuser("select distinct agent_id, pool_id, groups from usage_event");
    assert_eq!(
        taken.unwrap(),
        format!(r#"{}|main|["staff"]"#, agent.name),
        "as the certificate says, not the event"
    );
}

#[tokio::test]
async fn a_key_shows_when_it_was_used_last_and_is_written_once_a_minute() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let spool = spool();
    let now = Clock::System.now();
    let used = |key: &str, ago: i64| {
        let mut event = event("acme", "alice", 1);
        event.occurred_at = Some(attach_proto::timestamp(now - SignedDuration::from_secs(ago)));
        key.clone_into(&mut event.principal.as_mut().unwrap().key);
        event
    };
    // The version of the row, and whether it was locked since: a lock is a write too.
    let row = |key: &str| {
        let row = format!(
            "select xmin, xmax, round(extract(epoch from last_used_at) - {}) from key_use where key_id = '{key}'",
            now.as_second()
        );
        front.world.test.as_superuser(&row).unwrap()
    };
    let batch = encoded(&[used("busy", 200), used("idle", 250), used("busy", 130), used("", 1)]);
    agent.report(&spool, 1, &batch).await.unwrap();
    assert!(row("busy").ends_with("|0|-130") && row("idle").ends_with("|0|-250"), "{}", row("busy"));
    let written = row("busy");
    agent.report(&spool, 5, &encoded(&[used("busy", 80), used("busy", 250)])).await.unwrap();
    assert_eq!(row("busy"), written, "less than a minute after the time that is there");
    agent.report(&spool, 7, &encoded(&[used("busy", 60)])).await.unwrap();
    assert!(row("busy").ends_with("|-60"), "{}", row("busy"));
    agent.report(&spool, 8, &encoded(&[used("idle", -300)])).await.unwrap();
    let idle: i64 = row("idle").rsplit('|').next().unwrap().parse().unwrap();
    // The machine's own clock may have been put back a little meanwhile.
    assert!((-60..250).contains(&idle), "a clock that is ahead makes no time in the future: {idle}");
    assert_eq!(front.world.test.as_superuser("select count(*) from key_use"), Ok("2".to_owned()));
}

#[tokio::test]
async fn a_gap_is_refused_with_the_number_that_is_next() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let spool = spool();
    let events = encoded(&[event("acme", "alice", 1), event("acme", "alice", 2)]);
    agent.report(&spool, 1, &events).await.unwrap();
    let refused = agent.report(&spool, 4, &events).await.unwrap_err();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((refused.code(), info.reason.as_str()), (Code::FailedPrecondition, "USAGE_GAP"));
    assert_eq!(info.metadata["expected_seq"], "3");
    assert_eq!((front.ledger().as_str(), front.alarms().as_str()), ("2|2|3", "usage_gap"));
}

#[tokio::test]
async fn an_event_that_comes_again_with_another_content_is_an_alarm() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let spool = spool();
    let first = event("acme", "alice", 1);
    agent.report(&spool, 1, &encoded(std::slice::from_ref(&first))).await.unwrap();
    let mut changed = first.clone();
    changed.measures[0].quantity = 0;
    for other in [changed, event("acme", "alice", 1)] {
        let refused = agent.report(&spool, 1, &encoded(&[other])).await.unwrap_err();
        assert_eq!(reason(&refused), "USAGE_CHANGED");
    }
    assert_eq!((front.ledger().as_str(), front.alarms().as_str()), ("1|1|1", "usage_changed\nusage_changed"));
}

#[tokio::test]
async fn events_that_have_changed_places_are_an_alarm() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let spool = spool();
    let mut events = encoded(&[event("acme", "alice", 1), event("acme", "alice", 2)]);
    agent.report(&spool, 1, &events).await.unwrap();
    events.reverse();
    let refused = agent.report(&spool, 1, &events).await.unwrap_err();
    assert_eq!(reason(&refused), "USAGE_CHANGED");
    assert_eq!((front.ledger().as_str(), front.alarms().as_str()), ("2|2|3", "usage_changed"));
}

/// Sums beyond 64 bits, and one kind twice in an event.
#[tokio::test]
async fn the_sums_are_those_of_the_events_however_large() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let mut large = event("acme", "alice", 0);
    large.measures = vec![measure("output_tokens", u64::MAX), measure("output_tokens", 7)];
    let other = UsageEvent { event_id: Uuid::now_v7().to_string(), ..large.clone() };
    agent.report(&spool(), 1, &encoded(&[large, other])).await.unwrap();
    let sum = 2 * (u128::from(u64::MAX) + 7);
    assert_eq!(front.sums(), format!("acme|alice|output_tokens|{sum}|2"));
}

#[tokio::test]
async fn names_that_no_key_of_the_sums_has_room_for_are_put_aside() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let (long, longest) = ("x".repeat(1_025), "y".repeat(1_024));
    let mut by_issuer = event("acme", "alice", 1);
    by_issuer.principal.as_mut().unwrap().issuer = long.clone();
    let mut by_kind = event("acme", "alice", 1);
    by_kind.measures.push(measure(&long, 1));
    let mut fits = event("acme", &longest, 5);
    fits.principal.as_mut().unwrap().issuer = longest.clone();
    fits.model = "m".repeat(256);
    fits.measures = vec![measure(&"k".repeat(128), 5)];
    let events = encoded(&[event("acme", &long, 1), by_issuer, by_kind, fits]);
    assert_eq!(agent.report(&spool(), 1, &events).await.unwrap(), 4);
    assert_eq!((front.ledger().as_str(), front.alarms().as_str()), ("1|1|5", "usage_put_aside"));
    assert_eq!(front.world.test.as_superuser("select count(*) from usage_quarantine"), Ok("3".to_owned()));
}

#[tokio::test]
async fn a_spool_is_its_agents_own() {
    let Some(front) = Front::start().await else { return };
    let (agent, clone) = (front.agent().await, front.agent().await);
    let spool = spool();
    let events = encoded(&[event("acme", "alice", 1)]);
    agent.report(&spool, 1, &events).await.unwrap();
    let refused = clone.report(&spool, 1, &events).await.unwrap_err();
    assert_eq!(reason(&refused), "USAGE_FOREIGN_SPOOL");
    assert_eq!((front.ledger().as_str(), front.alarms().as_str()), ("1|1|1", "usage_foreign_spool"));
    // Nor another pool's, which the taking role does not even see.
    let elsewhere = "alter table agent disable trigger all; update agent set pool_id = 'side'";
    let World { db, operator, .. } = &front.world;
    crate::ops::create_pool(db, operator, &"side".parse().unwrap(), "Elsewhere").await.unwrap();
    front.world.test.as_superuser(&format!("{elsewhere} where id = '{}'", agent.name)).unwrap();
    let refused = clone.report(&spool, 1, &events).await.unwrap_err();
    assert_eq!(reason(&refused), "USAGE_FOREIGN_SPOOL");
}

/// The same events by two spools: a folder that was copied and given another name.
#[tokio::test]
async fn an_event_counts_once_whatever_spool_brings_it() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let events = encoded(&[event("acme", "alice", 1), event("acme", "alice", 2)]);
    agent.report(&spool(), 1, &events[..1]).await.unwrap();
    assert_eq!(agent.report(&spool(), 1, &events).await.unwrap(), 2);
    assert_eq!((front.ledger().as_str(), front.alarms().as_str()), ("2|2|3", "usage_put_aside"));
    assert_eq!(front.sums(), "acme|alice|input_tokens|6|0\nacme|alice|output_tokens|3|2");
}

#[tokio::test]
async fn what_nobody_may_be_charged_for_is_put_aside_and_the_spool_goes_on() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let World { db, operator, .. } = &front.world;
    let side = "side".parse().unwrap();
    crate::ops::create_pool(db, operator, &side, "Elsewhere").await.unwrap();
    crate::ops::create_tenant(db, operator, &tenant("umbrella"), &side).await.unwrap();
    let at =
        |hours: i64| Some(attach_proto::timestamp(Clock::System.now() + SignedDuration::from_hours(hours)));
    let mut events = encoded(&[
        event("acme", "alice", 1),
        event("umbrella", "eve", 1_000),
        event("nobody", "eve", 1_000),
        UsageEvent { occurred_at: at(1), ..event("acme", "alice", 1_000) },
        UsageEvent { occurred_at: at(-24 * 90), ..event("acme", "alice", 1_000) },
        event("acme", "al\0ice", 1_000),
        UsageEvent { outcome: 99, ..event("acme", "alice", 1_000) },
    ]);
    events.push(vec![0xff]);
    events.extend(encoded(&[event("acme", "alice", 2)]));
    let spool = spool();
    assert_eq!(agent.report(&spool, 1, &events).await.unwrap(), 9);
    assert_eq!(front.ledger(), "2|2|3");
    let aside = front
        .world
        .test
        .as_superuser("select seq, claimed_tenant, reason from usage_quarantine order by seq");
    assert_eq!(
        aside.unwrap(),
        "2|umbrella|its tenant was not in the agent's pool at that time\n\
         3|nobody|its tenant was not in the agent's pool at that time\n\
         4|acme|its time is in the future\n\
         5|acme|its time is more than 60 days ago\n\
         6|acme|a text of it has a byte zero, which no table keeps\n\
         7|acme|is no usage event that this version can read\n\
         8||is no usage event that this version can read"
    );
    // Whole batches come again too.
    assert_eq!(agent.report(&spool, 1, &events).await.unwrap(), 9);
    assert_eq!((front.ledger().as_str(), front.alarms().as_str()), ("2|2|3", "usage_put_aside"));
}

/// Whatever the reason: one that this program does not foresee is made by hand.
#[tokio::test]
async fn an_event_that_the_database_can_not_keep_is_put_aside_alone_and_the_spool_goes_on() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let no_poison = "create function no_poison() returns trigger language plpgsql as $$ begin
             if new.request_id = 'poison' then raise 'it is too odd' using errcode = '22023'; end if;
             return new;
         end $$;
         create trigger no_poison before insert on usage_event for each row execute function no_poison()";
    front.world.test.as_superuser(no_poison).unwrap();
    let mut events: Vec<_> = (1..=11).map(|n| event("acme", "alice", n)).collect();
    for odd in [3, 8] {
        events[odd].request_id = "poison".to_owned();
    }
    let (spool, events) = (spool(), encoded(&events));
    for _ in 0..2 {
        assert_eq!(agent.report(&spool, 1, &events).await.unwrap(), 11);
        assert_eq!(front.ledger(), format!("9|9|{}", 66 - 4 - 9));
        let aside = "select seq, claimed_tenant, reason from usage_quarantine order by seq";
        let aside = front.world.test.as_superuser(aside).unwrap();
        let reason = "acme|the database can't keep a value of it";
        assert_eq!(aside, format!("4|{reason}\n9|{reason}"));
        assert_eq!(front.alarms(), "usage_put_aside\nusage_put_aside");
    }
}

#[tokio::test]
async fn a_tenant_that_left_the_pool_is_charged_for_what_it_did_before() {
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    front.world.test.as_superuser(
        "update pool_membership set since = now() - interval '3 hours', until = now() - interval '1 hour' where tenant_id = 'acme'",
    )
    .unwrap();
    let at = |minutes: i64| {
        Some(attach_proto::timestamp(Clock::System.now() - SignedDuration::from_mins(minutes)))
    };
    let before = UsageEvent { occurred_at: at(90), ..event("acme", "alice", 7) };
    let after = UsageEvent { occurred_at: at(30), ..event("acme", "alice", 1_000) };
    agent.report(&spool(), 1, &encoded(&[before, after])).await.unwrap();
    assert_eq!(front.ledger(), "1|1|7");
}

/// The second lock: what the program lets through by mistake, the database does not.
#[tokio::test]
async fn the_role_that_takes_usage_in_reads_no_event_and_writes_none_of_another_pool() {
    let Some(front) = Front::start().await else { return };
    let mut tx = front.world.db.ingest(&"side".parse().unwrap()).await.unwrap();
    let read = sqlx::query("select from usage_event").execute(tx.connection()).await.unwrap_err();
    assert!(read.to_string().contains("permission denied"), "{read}");
    let mut tx = front.world.db.ingest(&"side".parse().unwrap()).await.unwrap();
    let written = sqlx::query(
        "insert into usage_event values ('acme', now(), gen_random_uuid(), now(), 'side', 'a', gen_random_uuid(), 1,
             sha256(''), '', '', '', '', false, 1, '', '', '', '[]', '', '[]', 1, 200, 1, '[]', null, null)",
    )
    .execute(tx.connection())
    .await
    .unwrap_err();
    assert!(written.to_string().contains("row-level security"), "{written}");
}
