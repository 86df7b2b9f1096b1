//! What only shows in numbers: printed, and held to five times its target.

use super::{
    reporting::{encoded, event, spool},
    *,
};
use crate::ops::{set_limit, take_usage};
use attach_proto::{enrolment::AgentName, v1::UsageBatch};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
}

/// Target of a change: a second for 1,000 agents (p99).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes many seconds; tests/run all"]
async fn two_hundred_agents_apply_a_change() {
    let Some(front) = Front::start().await else { return };
    let mut streams = Vec::new();
    for _ in 0..200 {
        let agent = front.agent().await;
        let mut stream = agent.follow().await.unwrap();
        stream.apply().await.unwrap();
        // The connection lives as long as the agent.
        streams.push((agent, stream));
    }
    let mut took = Vec::new();
    for round in 0..5 {
        let began = Instant::now();
        let mut waiting = JoinSet::new();
        for (agent, mut stream) in streams.drain(..) {
            waiting.spawn(async move {
                stream.apply().await.unwrap();
                (began.elapsed(), agent, stream)
            });
        }
        set_limit(&front.world.db, &front.world.operator, &limit("acme", 100 + round)).await.unwrap();
        for (elapsed, agent, stream) in waiting.join_all().await {
            took.push(elapsed);
            streams.push((agent, stream));
        }
    }
    took.sort();
    let (median, p99) = (percentile(&took, 50), percentile(&took, 99));
    println!("200 agents, 5 changes: median {median:?}, p99 {p99:?}, the last {:?}", took.last());
    assert!(p99 < Duration::from_secs(5), "{p99:?}");
}

/// Target: at least half of what a bare insert takes in, with the sums.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark; tests/run all"]
async fn taking_in_beside_a_bare_insert() {
    const BATCH: usize = 1_000;
    const ROUNDS: usize = 20;
    let Some(front) = Front::start().await else { return };
    let agent = front.agent().await;
    let name = AgentName { pool: pool(), agent: agent.name.parse().unwrap() };
    front
        .world
        .test
        .as_superuser(&format!(
            "create table bare (like usage_event including all); grant insert on bare to {}",
            front.world.test.serving_login
        ))
        .unwrap();
    let mut connection =
        <sqlx::PgConnection as sqlx::Connection>::connect(&front.world.test.serving_url).await.unwrap();
    let own = spool();
    let (mut taken, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let events: Vec<_> = (0..BATCH).map(|n| event("acme", &format!("user-{}", n % 200), 7)).collect();
        let events: Vec<_> = encoded(&events).into_iter().map(Into::into).collect();
        let first_seq = (round * BATCH + 1) as u64;
        let batch = UsageBatch { spool: own.clone(), first_seq, events };
        let began = Instant::now();
        take_usage(&front.world.db, &name, batch, Clock::System.now()).await.unwrap();
        taken.push(began.elapsed());

        let ids: Vec<_> = (0..BATCH).map(|_| uuid::Uuid::now_v7()).collect();
        let subjects: Vec<_> = (0..BATCH).map(|n| format!("user-{}", n % 200)).collect();
        let insert = bare_insert(ids, subjects);
        let began = Instant::now();
        insert.execute(&mut connection).await.unwrap();
        bare.push(began.elapsed());
    }
    taken.sort();
    bare.sort();
    let (taken, bare) = (percentile(&taken, 50), percentile(&bare, 50));
    println!(
        "{BATCH} events: taken in {taken:?} ({:.0}/s), bare insert {bare:?} ({:.0}/s): {:.0} %",
        BATCH as f64 / taken.as_secs_f64(),
        BATCH as f64 / bare.as_secs_f64(),
        100.0 * bare.as_secs_f64() / taken.as_secs_f64()
    );
    assert_eq!(
        front.world.test.as_superuser("select count(*) from usage_event"),
        Ok((BATCH * ROUNDS).to_string())
    );
}

/// All columns by unnest, into a table of the same shape and key: no policy, no partition, no sums.
fn bare_insert(
    ids: Vec<uuid::Uuid>,
    subjects: Vec<String>,
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let count = ids.len();
    let text = |text: &str| vec![text.to_owned(); count];
    let numbers = |number: i64| vec![number; count];
    let small = |number: i16| vec![number; count];
    let json = |text: &str| vec![serde_json::from_str::<serde_json::Value>(text).unwrap(); count];
    sqlx::query(
        "insert into bare select tenant, timestamptz 'epoch' + at * interval '1 microsecond', id, now(), 'main', 'agent',
             '00000000-0000-0000-0000-000000000000', seq, sha, request, operation, dialect, model, stream, kind, subject,
             issuer, key, groups, project, measures, outcome, status, revision, attempts, first, duration
         from unnest($1::text[], $2::bigint[], $3::uuid[], $4::bigint[], $5::bytea[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::boolean[], $11::smallint[], $12::text[], $13::text[], $14::text[], $15::jsonb[],
                     $16::text[], $17::jsonb[], $18::smallint[], $19::smallint[], $20::bigint[], $21::jsonb[],
                     $22::bigint[], $23::bigint[])
             as row (tenant, at, id, seq, sha, request, operation, dialect, model, stream, kind, subject, issuer, key,
                     groups, project, measures, outcome, status, revision, attempts, first, duration)",
    )
    .bind(text("acme"))
    .bind(numbers(Clock::System.now().as_microsecond()))
    .bind(ids)
    .bind((0..).take(count).collect::<Vec<i64>>())
    .bind(vec![vec![0_u8; 32]; count])
    .bind(text("r-1"))
    .bind(text("chat"))
    .bind(text("ollama"))
    .bind(text("llama3"))
    .bind(vec![false; count])
    .bind(small(1))
    .bind(subjects)
    .bind(text("https://id.example"))
    .bind(text(""))
    .bind(json(r#"["staff"]"#))
    .bind(text(""))
    .bind(json(r#"[{"kind": "output_tokens", "quantity": 7, "source": 1}]"#))
    .bind(small(1))
    .bind(small(200))
    .bind(numbers(1))
    .bind(json("[]"))
    .bind(vec![None::<i64>; count])
    .bind(numbers(1000))
}
