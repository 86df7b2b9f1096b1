//! Five times what the engine can do: it goes on doing what it can, and who is turned away learns it at once.

use attach_tests::{
    Client, Engine, Gateway, Script,
    engine::{Step, samples},
    gateway::Setup,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const KEYS: [&str; 2] = ["sk-test-0123456789", "sk-other-0123456789"];

/// What the engine takes at a time, and how long it has each: 40 a second.
const PLACES: usize = 8;
const EACH: Duration = Duration::from_millis(200);

/// Who is refused asks again after as long, so that as many callers for each place offer as many times the load.
const PAUSE: Duration = EACH;

const SPAN: Duration = Duration::from_secs(5);

fn chat() -> Value {
    json!({"model": "tiny", "messages": [{"role": "user", "content": "x".repeat(1_000)}]})
}

fn slow() -> Script {
    let body = samples::openai_chat_body(1, 1).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    Script::Raw(vec![Step::Sleep(EACH), Step::Bytes(format!("{head}{}\r\n\r\n{body}", body.len()).into())])
}

async fn gateway(engine: &Engine, places: &str, arguments: &[&str]) -> Gateway {
    let keys = KEYS.map(|key| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    let setup = Setup::new().with_bundle(&format!(
        "
tenants: [{{id: acme}}, {{id: other}}]
keys: [{{sha256: {}, tenant: acme}}, {{sha256: {}, tenant: other}}]
upstreams: [{{url: '{}'{places}}}]
",
        keys[0],
        keys[1],
        engine.url()
    ));
    arguments.iter().fold(setup, |setup, argument| setup.with_argument(*argument)).start().await
}

#[derive(Default)]
struct Report {
    served: Vec<Duration>,
    refused: Vec<Duration>,
    codes: std::collections::BTreeSet<String>,
}

/// Callers that ask again as soon as they have an answer, and a while after a refusal.
async fn offer(client: &Client, callers: usize) -> Report {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (client, is_over) = (client.clone(), Arc::clone(&is_over));
        running.spawn(async move {
            let mut report = Report::default();
            let body = chat();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = client.post("/v1/chat/completions", &body).await;
                if answer.status == 200 {
                    report.served.push(began.elapsed());
                } else {
                    report.refused.push(began.elapsed());
                    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
                    let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
                    report.codes.insert(format!("{} {code}", answer.status.as_u16()));
                    tokio::time::sleep(PAUSE).await;
                }
            }
            report
        });
    }
    tokio::time::sleep(SPAN).await;
    is_over.store(true, Ordering::Relaxed);
    let mut all = Report::default();
    while let Some(report) = running.join_next().await {
        let report = report.expect("no panic");
        all.served.extend(report.served);
        all.refused.extend(report.refused);
        all.codes.extend(report.codes);
    }
    all.served.sort();
    all.refused.sort();
    all
}

fn at(times: &[Duration], percent: usize) -> Duration {
    times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_five_times_its_capacity_the_engine_does_what_it_can_and_the_rest_is_refused_at_once() {
    let _turn = super::turn().await;
    let engine = Engine::start(slow()).await;
    let gateway = gateway(&engine, &format!(", max_in_flight: {PLACES}"), &[]).await;
    let client = gateway.client().with_bearer(KEYS[0]);
    let peak = offer(&client, PLACES).await;
    let over = offer(&client, 5 * PLACES).await;
    println!(
        "capacity: {} served, p99 {:.1?}; at five times: {} served, p99 {:.1?}; {} refused, median {:.1?}, p99 {:.1?}",
        peak.served.len(),
        at(&peak.served, 99),
        over.served.len(),
        at(&over.served, 99),
        over.refused.len(),
        at(&over.refused, 50),
        at(&over.refused, 99),
    );
    assert_eq!(over.codes.into_iter().collect::<Vec<_>>(), ["503 engine_busy"]);
    assert!(over.refused.len() > over.served.len());
    // Nine tenths of the peak is what is aimed at. Here the callers take their share of the same two cores.
    assert!(
        over.served.len() * 10 >= peak.served.len() * 7,
        "{} of {}",
        over.served.len(),
        peak.served.len()
    );
    assert_eq!(
        engine.seen().len(),
        peak.served.len() + over.served.len(),
        "nothing that was refused was begun"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_takes_the_places_of_the_others() {
    let _turn = super::turn().await;
    let engine = Engine::start(slow()).await;
    let gateway = gateway(&engine, "", &["--max-in-progress", "8"]).await;
    let [greedy, modest] = KEYS.map(|key| gateway.client().with_bearer(key));
    let (greedy, modest) = tokio::join!(offer(&greedy, 40), offer(&modest, 3));
    println!(
        "greedy: {} served, {:?}; modest: {} served, {:?}",
        greedy.served.len(),
        greedy.codes,
        modest.served.len(),
        modest.codes
    );
    assert!(greedy.codes.contains("429 too_many_in_progress"));
    // What it is refused now and then is a place that a refusal of the other has for a moment.
    assert!(modest.served.len() > 5 * modest.refused.len(), "{} refused", modest.refused.len());
}
