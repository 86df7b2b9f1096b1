//! The real Ollama, in all three dialects.

use crate::{
    World, clients,
    counts::{self, event_on_its_way},
};
use serde_json::{Value, json};
use std::rc::Rc;

/// Each client's script, and the path of its base address.
const CLIENTS: [(&str, &str, &str); 3] = [
    ("ollama", "ollama_calls.py", ""),
    ("openai", "openai_calls.py", "/v1"),
    ("anthropic", "anthropic_calls.py", ""),
];

pub(crate) async fn each_request_of_the_official_clients_is_counted_as_the_engine_counts(world: Rc<World>) {
    let (gateway, token) = world.gateway(&world.ollama).await;
    for (client, script, path) in CLIENTS {
        let through = format!("http://127.0.0.1:{}{path}", gateway.port);
        let replies = clients::calls(&world, script, &through, &token, client).await;
        let direct = format!("{}{path}", world.ollama.url());
        let direct = clients::calls(&world, script, &direct, "none", client).await;
        counts::compare(&world, &world.ollama, client, &gateway, &replies, &direct);
    }
    counts::compare_sums(&world, &world.ollama, &gateway);
}

pub(crate) async fn models_are_listed_and_an_unknown_one_is_refused_in_each_dialect(world: Rc<World>) {
    let (gateway, token) = world.gateway(&world.ollama).await;
    let through = format!("http://127.0.0.1:{}", gateway.port);
    let (seen, direct) = listings(&world, &through, &token).await;
    assert_eq!(seen["ollama_list"], json!(["llama3:latest", "tiny:latest"]));
    assert_eq!(seen["ollama_unknown"][0], 404);
    assert_eq!(seen["openai_unknown"][0], 404);
    assert_eq!(seen, direct, "the clients see no difference");

    let alice = gateway.client().with_bearer(&token);
    let body = json!({"model": "nope", "max_tokens": 4, "messages": [{"role": "user", "content": "x"}]});
    let answer = alice.post("/v1/messages", &body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["type"]), (404, &json!("not_found_error")));
    // A chat model cannot embed, and what was not done is not counted.
    let body = json!({"model": "tiny", "input": "x"});
    let answer =
        alice.clone().with_header("x-request-id", "no-embedding").post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 501, "{}", answer.text());
    let event = event_on_its_way(&gateway, "no-embedding").await;
    assert_eq!(event["outcome"], "OUTCOME_ENGINE_ERROR", "{event:#}");
}

/// What the clients see through the gateway, and directly. The engine loads and unloads models by itself, so what it says
/// directly has to be the same before and after.
async fn listings(world: &World, through: &str, token: &str) -> (Value, Value) {
    let mut before = listing(world, world.ollama.url(), "none").await;
    for _ in 0..5 {
        let seen = listing(world, through, token).await;
        let after = listing(world, world.ollama.url(), "none").await;
        if before == after {
            return (seen, after);
        }
        println!("the engine said {before}, then {after}: once more");
        before = after;
    }
    panic!("the engine's own answers do not stay the same")
}

async fn listing(world: &World, base_url: &str, key: &str) -> Value {
    let lines = clients::json_lines(world, "listing.py", &[base_url, key, "tiny"]).await;
    let [line] = lines.try_into().expect("one line");
    line
}

pub(crate) async fn one_model_has_one_name_in_the_usage_however_a_caller_writes_it(world: Rc<World>) {
    let (gateway, token) = world.gateway(&world.ollama).await;
    let alice = gateway.client().with_bearer(&token);
    for name in [
        "tiny",
        "tiny:latest",
        "TINY",
        "Tiny:Latest",
        "library/tiny",
        "registry.ollama.ai/library/tiny:latest",
    ] {
        let body = json!({"model": name, "stream": false, "prompt": "x", "options": {"num_predict": 1}});
        let answer = alice.post("/api/generate", &body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
    let models: Vec<_> = gateway.events().iter().map(|event| event["model"].clone()).collect();
    assert_eq!(models, vec![json!("tiny"); 6]);
}

pub(crate) async fn a_body_that_the_engine_would_read_otherwise_is_refused(world: Rc<World>) {
    let (gateway, token) = world.gateway(&world.ollama).await;
    let body = r#"{"model":"nope","MODEL":"tiny","prompt":"x","stream":false,"options":{"num_predict":1}}"#;
    let direct = attach_tests::Client::new(world.ollama.port()).post_raw("/api/generate", body).await;
    assert_eq!(direct.status, 200, "the engine takes the last of the two: {}", direct.text());
    let answer = gateway.client().with_bearer(&token).post_raw("/api/generate", body).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.json()["error"].as_str().is_some_and(|error| error.contains("MODEL")),
        "{}",
        answer.text()
    );
}

pub(crate) async fn a_foreign_origin_and_host_do_not_reach_the_engine(world: Rc<World>) {
    let body = json!({"model": "tiny", "stream": false, "prompt": "x", "options": {"num_predict": 1}});
    for (name, value) in [("origin", "https://app.example"), ("host", "gateway.example")] {
        let direct = attach_tests::Client::new(world.ollama.port()).with_header(name, value);
        assert_eq!(
            direct.post("/api/generate", &body).await.status,
            403,
            "the engine refuses a foreign {name}"
        );
        let (gateway, token) = world.gateway(&world.ollama).await;
        let alice = gateway.client().with_bearer(&token).with_header(name, value);
        let answer = alice.post("/api/generate", &body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}
