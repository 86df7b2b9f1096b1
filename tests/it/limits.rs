//! Limits hold exactly, whatever comes at once.

use attach_tests::{
    Engine, Gateway, Issuer, Redis, Script,
    engine::{Step, samples, tokens},
    eventually,
    gateway::Setup,
};
use serde_json::{Value, json};
use std::time::Duration;

const PARALLEL: usize = 64;
const FITTING: usize = 20;

/// An engine that answers nobody before it is told to.
fn holding() -> Script {
    let body = samples::openai_chat_body(50, 50).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Script::Raw(vec![Step::Wait, Step::Bytes(head.into())])
}

fn chat() -> Value {
    json!({"model": "tiny", "max_tokens": 95, "messages": [{"role": "user", "content": "hi"}]})
}

/// Reserved for one: the estimate of the messages (34 bytes, so 9 tokens) and the 95 that were asked for.
const RESERVED: usize = 9 + 95;

async fn burst(gateways: &[&Gateway], token: &str, engine: &Engine) -> (usize, usize) {
    let mut requests = Vec::new();
    for index in 0..PARALLEL {
        let client = gateways[index % gateways.len()].client().with_bearer(token);
        requests.push(tokio::spawn(async move { client.post("/v1/chat/completions", &chat()).await }));
    }
    let refused = async || requests.iter().filter(|request| request.is_finished()).count();
    eventually("every request was decided", Duration::from_secs(20), async || {
        (refused().await + engine.seen().len() >= PARALLEL).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let admitted = engine.seen().len();
    engine.go_on(PARALLEL);
    let mut served = 0;
    for request in requests {
        let answer = request.await.expect("no panic");
        match answer.status.as_u16() {
            200 => served += 1,
            429 => {
                let wait: u64 = answer.header("retry-after").expect("a wait").parse().expect("seconds");
                assert!((1..=120).contains(&wait), "{wait}");
                assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
                assert_eq!(answer.header("x-ratelimit-limit-tokens"), Some(limit().to_string().as_str()));
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    (admitted, served)
}

/// Fits twenty, and not one more.
fn limit() -> usize {
    FITTING * RESERVED + RESERVED / 2
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_at_once_exactly_the_20_that_fit_reach_the_engine_with_limits_in_memory() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(holding()).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with("MAX_TOKENS_PER_MIN", &limit().to_string()).start().await;

    assert_eq!(burst(&[&gateway], &issuer.token("alice"), &engine).await, (FITTING, FITTING));
}

/// Limits in this Redis. The call budget is another promise with tests of its own; here every decision shall be made,
/// however busy the machine.
fn setup_on(redis: &Redis, issuer: &Issuer, engine: &Engine) -> Setup {
    Setup::new().with_bundle(&format!(
        "
quota_stores: [{{redis: {{url: '{}', call_budget: 10s}}}}]
identity_providers: [{{issuer: '{}', audiences: [test-api]}}]
limits: [{{counter: COUNTER_EACH_PRINCIPAL, measure: MEASURE_TOTAL_TOKENS, window: 60s, amount: {}}}]
upstreams: [{{url: '{}'}}]
",
        redis.url(),
        issuer.url(),
        limit(),
        engine.url()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_at_once_exactly_the_20_that_fit_reach_the_engine_with_limits_in_redis() {
    let Some(redis) = Redis::start() else { return };
    let issuer = Issuer::start().await;
    let engine = Engine::start(holding()).await;
    let gateway = setup_on(&redis, &issuer, &engine).start().await;

    assert_eq!(burst(&[&gateway], &issuer.token("alice"), &engine).await, (FITTING, FITTING));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_at_once_exactly_the_20_that_fit_reach_the_engine_through_two_gateways_on_one_redis() {
    let Some(redis) = Redis::start() else { return };
    let issuer = Issuer::start().await;
    let engine = Engine::start(holding()).await;
    let one = setup_on(&redis, &issuer, &engine).start().await;
    let two = setup_on(&redis, &issuer, &engine).start().await;

    assert_eq!(burst(&[&one, &two], &issuer.token("alice"), &engine).await, (FITTING, FITTING));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_at_the_limit_does_not_stop_another() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(50, 50)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with("MAX_TOKENS_PER_MIN", "150").start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let bob = gateway.client().with_bearer(&issuer.token("bob"));

    assert_eq!(alice.post("/v1/chat/completions", &chat()).await.status, 200);
    assert_eq!(alice.post("/v1/chat/completions", &chat()).await.status, 429, "100 of 150 are used");
    assert_eq!(bob.post("/v1/chat/completions", &chat()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_rate_is_a_limit_too_and_the_many_names_of_a_model_share_one() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let key = "sk-test-0123456789";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let gateway = Setup::new()
        .with_bundle(&format!(
            "
keys: [{{sha256: {hex}, owner: app}}]
limits:
  - {{counter: COUNTER_EACH_MODEL, measure: MEASURE_REQUESTS, window: 60s, amount: 3, scope: {{models: [tiny]}}}}
upstreams: [{{url: '{}'}}]
",
            engine.url()
        ))
        .start()
        .await;
    let app = gateway.client().with_bearer(key);
    let mut statuses = Vec::new();
    for model in ["tiny", "TINY:latest", "registry.ollama.ai/library/tiny:latest", "library/tiny", "other"] {
        statuses.push(
            app.post("/v1/chat/completions", &json!({"model": model, "messages": []})).await.status.as_u16(),
        );
    }
    assert_eq!(statuses, [200, 200, 200, 429, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_one_piece_is_capped_in_the_field_that_the_engine_obeys() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(5, 5)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with("MAX_TOKENS_PER_MIN", "1000").start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));

    let asked = json!({"model": "tiny", "messages": [], "max_completion_tokens": 300});
    alice.post("/v1/chat/completions", &asked).await;
    alice.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await;
    engine.set(samples::ollama_chat(5, 5));
    alice.post("/api/chat", &json!({"model": "tiny", "messages": [], "stream": false})).await;
    alice
        .post("/api/chat", &json!({"model": "tiny", "messages": [], "stream": false, "options": {"seed": 1}}))
        .await;

    let seen: Vec<Value> = engine.seen().iter().map(attach_tests::engine::Seen::json).collect();
    // Ollama does not know the field that was asked by, so the same bound stands in the one that it obeys.
    assert_eq!((&seen[0]["max_completion_tokens"], &seen[0]["max_tokens"]), (&json!(300), &json!(300)));
    let cap = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{seen:#?}"));
    assert!((256..1000).contains(&cap(&seen[1]["max_tokens"])));
    assert!((256..1000).contains(&cap(&seen[2]["options"]["num_predict"])));
    assert!((256..1000).contains(&cap(&seen[3]["options"]["num_predict"])));
    assert_eq!(seen[3]["options"]["seed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_meets_its_limit_ends_as_the_engines_own_length_stop_and_the_engine_is_told() {
    let issuer = Issuer::start().await;
    // More than any step, and it would go on for ever.
    let mut steps: Vec<Step> = samples::openai_chunks(9, 2000).into_iter().map(Step::Chunk).collect();
    steps.truncate(2000);
    steps.push(Step::Wait);
    let engine = Engine::start(Script::Stream("text/event-stream", steps)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with("MAX_TOKENS_PER_MIN", "700").start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));

    let body = json!({"model": "tiny", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let answer = alice.stream("/v1/chat/completions", &body).await.whole().await;

    let text = answer.text();
    assert!(answer.broken.is_none(), "{:?}", answer.broken);
    assert!(text.ends_with("data: [DONE]\n\n"), "{}", &text[text.len() - 300..]);
    assert!(text.contains(r#""finish_reason":"length""#), "{}", &text[text.len() - 600..]);
    let tokens = tokens(&text);
    // Two steps of 256 fit into 700; a third does not.
    assert!((512..=512 + 64).contains(&tokens), "{tokens} tokens passed");
    engine.wait_abandoned(Duration::from_secs(5)).await;
    let events = gateway.wait_events(1).await;
    assert_eq!(events[0]["outcome"], "OUTCOME_CUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_at_the_callers_own_bound_is_whole_though_the_limit_has_no_room_for_more() {
    let engine = Engine::start(samples::openai_stream(7, 10)).await;
    let setup = Setup::new().with_keys(&["sk-test-0123456789"]).with_engine(&engine);
    // Room for the ten that are asked for, and for no step of 256 behind them.
    let gateway = setup.with("MAX_TOKENS_PER_MIN", "150").start().await;
    let caller = gateway.client().with_bearer("sk-test-0123456789");
    let body = json!({"model": "tiny", "stream": true, "max_tokens": 10, "messages": []});

    let answer = caller.stream("/v1/chat/completions", &body).await.whole().await;

    assert_eq!(tokens(&answer.text()), 10);
    let events = gateway.wait_events(1).await;
    assert_eq!(events[0]["outcome"], "OUTCOME_COMPLETE");
    for (kind, expected) in [("input_tokens", 7), ("output_tokens", 10)] {
        assert_eq!(
            attach_tests::gateway::quantity(&events[0], kind),
            Some(expected),
            "the engine's own count"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_in_a_field_that_the_engine_does_not_obey_is_no_way_around_a_limit() {
    let issuer = Issuer::start().await;
    let mut steps: Vec<Step> = samples::openai_chunks(9, 5000).into_iter().map(Step::Chunk).collect();
    steps.truncate(5000);
    steps.push(Step::Wait);
    for (path, bound) in [
        ("/v1/chat/completions", json!({"max_completion_tokens": 1})),
        ("/v1/chat/completions", json!({"n_predict": 1})),
        ("/v1/completions", json!({"max_tokens": 100_000, "max_completion_tokens": 1})),
    ] {
        let engine = Engine::start(Script::Stream("text/event-stream", steps.clone())).await;
        let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
        let gateway = setup.with("MAX_TOKENS_PER_MIN", "1000").start().await;
        let alice = gateway.client().with_bearer(&issuer.token("alice"));
        let mut body = json!({"model": "tiny", "stream": true, "prompt": "hi", "messages": []});
        for (name, value) in bound.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let text = alice.stream(path, &body).await.whole().await.text();
        assert!(tokens(&text) <= 1000, "{bound}: {} tokens passed", tokens(&text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_not_counted_as_if_its_bytes_were_words() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let url = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(30_000));
    let body = json!({"model": "tiny", "max_tokens": 50, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]});
    assert_eq!(alice.post("/v1/chat/completions", &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_prompts_reserves_an_answer_to_each() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with_issuer(&issuer).with_engine(&engine);
    let gateway = setup.with("MAX_TOKENS_PER_MIN", "1000").start().await;
    let alice = gateway.client().with_bearer(&issuer.token("alice"));
    let ask = async |prompts: usize| {
        let body = json!({"model": "tiny", "max_tokens": 100, "prompt": vec!["a"; prompts]});
        alice.post("/v1/completions", &body).await.status.as_u16()
    };
    assert_eq!(ask(50).await, 200);
    // A fiftieth of what fits into the limit, for each.
    let cap = engine.seen()[0].json()["max_tokens"].as_u64().expect("a number");
    assert!(cap * 50 <= 1000, "{cap} for each of 50");
    let in_tokens = json!({"model": "tiny", "max_tokens": 100, "prompt": [1, 2, 3]});
    assert_eq!(alice.post("/v1/completions", &in_tokens).await.status, 200);
    assert_eq!(engine.seen()[1].json()["max_tokens"], 100, "a list of numbers is one prompt");
}
