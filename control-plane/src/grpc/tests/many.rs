//! What only shows in numbers: printed, and held to five times its target.

use super::{
    reporting::{encoded, event, spool},
    *,
};
use crate::ops::{set_limit, take_usage};
use attach_proto::{enrolment::AgentName, v1::UsageBatch};
use serde_json::json;
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
#[ignore = "a benchmark, meant for a release build; tests/run all"]
async fn taking_in_beside_a_bare_insert() {
    const BATCH: usize = 1_000;
    const ROUNDS: usize = 60;
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

        let rows = BareRows::new(BATCH);
        let began = Instant::now();
        rows.insert().execute(&mut connection).await.unwrap();
        bare.push(began.elapsed());
    }
    // Each is held against its neighbour: the machine is not equally fast all the time.
    let mut shares: Vec<f64> =
        taken.iter().zip(&bare).map(|(taken, bare)| bare.as_secs_f64() / taken.as_secs_f64()).collect();
    shares.sort_by(f64::total_cmp);
    taken.sort();
    bare.sort();
    let (taken, bare) = (percentile(&taken, 50), percentile(&bare, 50));
    println!(
        "{BATCH} events: taken in {taken:?} ({:.0}/s), bare insert {bare:?} ({:.0}/s): {:.0} % (median of {ROUNDS} pairs)",
        BATCH as f64 / taken.as_secs_f64(),
        BATCH as f64 / bare.as_secs_f64(),
        100.0 * shares[ROUNDS / 2]
    );
    assert_eq!(
        front.world.test.as_superuser("select count(*) from usage_event"),
        Ok((BATCH * ROUNDS).to_string())
    );
}

/// What the bare insert writes: as many columns as the events have.
struct BareRows {
    texts: Vec<&'static str>,
    subjects: Vec<String>,
    numbers: Vec<i64>,
    small: Vec<i16>,
    ids: Vec<uuid::Uuid>,
    hashes: Vec<Vec<u8>>,
    streams: Vec<bool>,
    groups: Vec<serde_json::Value>,
    measures: Vec<serde_json::Value>,
    attempts: Vec<serde_json::Value>,
    first_bytes: Vec<Option<i64>>,
}

impl BareRows {
    fn new(count: usize) -> Self {
        let measure = |kind| json!({ "kind": kind, "quantity": 7, "source": 1 });
        Self {
            texts: vec!["some-text"; count],
            subjects: (0..count).map(|n| format!("user-{}", n % 200)).collect(),
            numbers: vec![Clock::System.now().as_microsecond(); count],
            small: vec![1; count],
            ids: (0..count).map(|_| uuid::Uuid::now_v7()).collect(),
            hashes: vec![vec![0; 32]; count],
            streams: vec![false; count],
            groups: vec![json!(["staff"]); count],
            measures: vec![json!([measure("output_tokens"), measure("input_tokens")]); count],
            attempts: vec![json!([]); count],
            first_bytes: vec![None; count],
        }
    }

    /// All columns by unnest, into a table of the same shape and key: no policy, no partition, no sums.
    fn insert(&self) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
        let texts = &self.texts;
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
        .bind(texts)
        .bind(&self.numbers)
        .bind(&self.ids)
        .bind(&self.numbers)
        .bind(&self.hashes)
        .bind(texts)
        .bind(texts)
        .bind(texts)
        .bind(texts)
        .bind(&self.streams)
        .bind(&self.small)
        .bind(&self.subjects)
        .bind(texts)
        .bind(texts)
        .bind(&self.groups)
        .bind(texts)
        .bind(&self.measures)
        .bind(&self.small)
        .bind(&self.small)
        .bind(&self.numbers)
        .bind(&self.attempts)
        .bind(&self.first_bytes)
        .bind(&self.numbers)
    }
}
