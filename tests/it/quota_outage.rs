//! A Redis that is stopped or hangs does what the tenant's setting says, in time, and is used again when it is back.

use attach_tests::{Engine, Gateway, Redis, engine::samples, eventually, gateway::Setup};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KEY: &str = "sk-test-0123456789";

fn chat() -> Value {
    json!({"model": "tiny", "max_tokens": 5, "messages": []})
}

async fn gateway(redis: &Redis, engine: &Engine, outage: &str) -> Gateway {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, KEY.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Setup::new()
        .with_bundle(&format!(
            "
tenants: [{{id: acme, on_quota_outage: {outage}}}]
quota_stores: [{{id: redis, redis: {{url: '{}'}}}}]
keys: [{{sha256: {hex}}}]
limits: [{{counter: COUNTER_SHARED, measure: MEASURE_TOTAL_TOKENS, window: 60s, amount: 1000000}}]
upstreams: [{{url: '{}'}}]
",
            redis.url(),
            engine.url()
        ))
        .start()
        .await
}

/// Statuses of some requests one after another, and the longest time that one took.
async fn requests(gateway: &Gateway, count: usize) -> (Vec<u16>, Duration) {
    let mut statuses = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..count {
        let before = Instant::now();
        let answer = gateway.client().with_bearer(KEY).post("/v1/chat/completions", &chat()).await;
        longest = longest.max(before.elapsed());
        statuses.push(answer.status.as_u16());
    }
    (statuses, longest)
}

/// The call budget is 20 ms; five times that is the deadline of a test on a busy machine.
const DEADLINE: Duration = Duration::from_millis(100);

async fn outage(setting: &str, expected: u16, hit: impl Fn(&mut Redis), mend: impl Fn(&mut Redis)) {
    let Some(mut redis) = Redis::start() else { return };
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = gateway(&redis, &engine, setting).await;
    eventually("requests are served", Duration::from_secs(5), async || {
        (requests(&gateway, 5).await.0 == [200; 5]).then_some(())
    })
    .await;

    hit(&mut redis);
    // The first meets the fault; from then on it is as set.
    requests(&gateway, 1).await;
    let (statuses, longest) = requests(&gateway, 30).await;
    println!("{setting}: longest answer during the outage {longest:?}");
    assert_eq!(statuses, vec![expected; 30]);
    assert!(longest < DEADLINE, "{longest:?}");

    mend(&mut redis);
    let back = Instant::now();
    eventually("limits are counted in Redis again", Duration::from_secs(5), async || {
        let answer = gateway.client().with_bearer(KEY).post("/v1/chat/completions", &chat()).await;
        answer.headers.contains_key("x-ratelimit-remaining-tokens").then_some(())
    })
    .await;
    println!("{setting}: recovered after {:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_redis_denies_when_so_set() {
    outage("QUOTA_OUTAGE_DENY", 503, Redis::stop, Redis::start_again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_redis_allows_when_so_set() {
    outage("QUOTA_OUTAGE_ALLOW", 200, Redis::stop, Redis::start_again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_denies_when_so_set() {
    outage("QUOTA_OUTAGE_DENY", 503, |redis| redis.hang(), |redis| redis.wake()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_allows_when_so_set() {
    outage("QUOTA_OUTAGE_ALLOW", 200, |redis| redis.hang(), |redis| redis.wake()).await;
}
