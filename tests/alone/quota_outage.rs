//! A Redis that is stopped or hangs under traffic: the gateway does what the tenant's setting says, in time, and uses it
//! again when it is back.

use attach_tests::{Client, Engine, Gateway, Redis, engine::samples, eventually, gateway::Setup};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

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

/// The call budget is 20 ms; five times that is the deadline of a test on a busy machine.
const DEADLINE: Duration = Duration::from_millis(100);

/// Callers that are never quiet.
const CALLERS: usize = 8;

struct Sample {
    sent: Instant,
    took: Duration,
    status: u16,
    /// The limits answered: Redis was asked.
    is_counted: bool,
}

async fn sample(client: &Client) -> Sample {
    let sent = Instant::now();
    let answer = client.post("/v1/chat/completions", &chat()).await;
    let is_counted = answer.headers.contains_key("x-ratelimit-remaining-tokens");
    Sample { sent, took: sent.elapsed(), status: answer.status.as_u16(), is_counted }
}

/// Traffic from its start until [`Traffic::stop`].
struct Traffic {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Sample>>>,
}

impl Traffic {
    fn start(gateway: &Gateway) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let caller = || {
            let (client, stop) = (gateway.client().with_bearer(KEY), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut samples = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    samples.push(sample(&client).await);
                }
                samples
            })
        };
        let callers = (0..CALLERS).map(|_| caller()).collect();
        Self { stop, callers }
    }

    async fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        for caller in self.callers {
            samples.extend(caller.await.expect("callers do not panic"));
        }
        samples
    }
}

/// In time in one of three outages: a machine that has other things to do is late now and then, a gateway that waits for
/// Redis is late each time.
async fn outage(setting: &str, expected: u16, hit: impl Fn(&mut Redis), mend: impl Fn(&mut Redis)) {
    let _turn = crate::turn().await;
    let mut late = Vec::new();
    for _ in 0..3 {
        let Some(redis) = Redis::start() else { return };
        let (almost_all, longest) = one_outage(redis, setting, expected, &hit, &mend).await;
        // One of a thousand may meet a machine that had other things to do, but none hangs.
        if almost_all < DEADLINE && longest < 10 * DEADLINE {
            return;
        }
        late.push((almost_all, longest));
    }
    panic!(
        "99 of 100 answers, and all, came within {late:?}, which is beyond {DEADLINE:?} and ten times that"
    );
}

/// How long 99 of 100 answers took, and the longest.
async fn one_outage(
    mut redis: Redis,
    setting: &str,
    expected: u16,
    hit: impl Fn(&mut Redis),
    mend: impl Fn(&mut Redis),
) -> (Duration, Duration) {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = gateway(&redis, &engine, setting).await;
    let client = gateway.client().with_bearer(KEY);
    let is_counted = async || sample(&client).await.is_counted.then_some(());
    eventually("limits are counted in Redis", Duration::from_secs(5), is_counted).await;
    let traffic = Traffic::start(&gateway);
    tokio::time::sleep(Duration::from_millis(300)).await;

    let hit_at = Instant::now();
    hit(&mut redis);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mended_at = Instant::now();
    mend(&mut redis);
    eventually("limits are counted in Redis again", Duration::from_secs(5), is_counted).await;
    let recovered = mended_at.elapsed();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let samples = traffic.stop().await;

    let mut times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    times.sort_unstable();
    let (almost_all, longest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
    // Those of the first moments met the fault themselves; from then on it is as set.
    let during: Vec<&Sample> =
        samples.iter().filter(|it| it.sent > hit_at + DEADLINE && it.sent + it.took < mended_at).collect();
    let after = samples.iter().filter(|it| it.sent > mended_at + recovered);
    println!(
        "{setting}: {} requests, {} during the outage, 99 of 100 within {almost_all:?}, all within {longest:?}, recovered after {recovered:?}",
        samples.len(),
        during.len()
    );
    assert!(during.len() > 100, "there was traffic: {}", during.len());
    assert!(during.iter().all(|it| it.status == expected && !it.is_counted));
    assert!(after.filter(|it| it.status == 200 && it.is_counted).count() > 20);
    (almost_all, longest)
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
