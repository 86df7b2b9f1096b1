use crate::wire::{World, request};
use attach_demo::engine::model::tokens;
use serde_json::json;

const HELLO: &str = r#"{"model":"demo","messages":[{"role":"user","content":"Hello"}]"#;

#[tokio::test]
async fn a_chat_streams_by_default_and_its_count_is_that_of_its_text() {
    let world = World::quick().await;
    let reply = world.post("/api/chat", &format!("{HELLO}}}")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let lines = reply.json_lines();
    let (last, rest) = lines.split_last().unwrap();
    let text: String = rest.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
    assert!(text.starts_with("I am the demo engine of Attach Gateway"), "{text}");
    assert!(rest.iter().all(|line| line["done"] == false && line["model"] == "demo"));
    assert_eq!(last["done"], true);
    assert_eq!(last["done_reason"], "stop");
    assert_eq!(last["message"]["content"], "");
    assert_eq!(last["eval_count"], tokens(&text).count());
    assert_eq!(last["eval_count"], rest.len());
    assert_eq!(last["prompt_eval_count"], tokens("user: Hello\nassistant:").count());
    assert_eq!(world.engine.generated(), rest.len() as u64);
}

#[tokio::test]
async fn a_whole_answer_says_what_the_stream_says_and_stops_at_num_predict() {
    let world = World::quick().await;
    let body = format!(r#"{HELLO},"stream":false,"options":{{"num_predict":5}}}}"#);
    let whole = world.post("/api/chat", &body).await.json();
    assert_eq!(whole["message"]["content"], "I am the demo engine");
    assert_eq!(whole["eval_count"], 5);
    assert_eq!(whole["done_reason"], "length");
    let streamed = world.post("/api/chat", &body.replace("\"stream\":false", "\"stream\":true")).await;
    assert_eq!(streamed.json_lines().len(), 6);
    assert_eq!(streamed.json_lines()[5]["done_reason"], "length");
}

#[tokio::test]
async fn a_generation_streams_responses_and_a_missing_prompt_only_loads() {
    let world = World::quick().await;
    let lines = world.post("/api/generate", r#"{"model":"llama3","prompt":"Hello"}"#).await.json_lines();
    assert_eq!(lines[0]["response"], "I");
    assert_eq!(lines.last().unwrap()["prompt_eval_count"], 1);
    let loaded = world.post("/api/generate", r#"{"model":"llama3"}"#).await.json();
    assert_eq!(
        (&loaded["done"], &loaded["done_reason"], &loaded["response"]),
        (&json!(true), &json!("load"), &json!(""))
    );
    let unloaded = world.post("/api/chat", r#"{"model":"llama3","messages":[],"keep_alive":0}"#).await.json();
    assert_eq!(unloaded["done_reason"], "unload");
    assert!(unloaded.get("eval_count").is_none());
}

#[tokio::test]
async fn a_stop_text_ends_the_answer() {
    let world = World::quick().await;
    let body = r#"{"model":"demo","prompt":"Hi","stream":false,"options":{"stop":[" engine"]}}"#;
    let reply = world.post("/api/generate", body).await.json();
    assert_eq!(reply["response"], "I am the demo");
    assert_eq!(reply["done_reason"], "stop");
}

#[tokio::test]
async fn embeddings_have_counts_on_the_new_route_only() {
    let world = World::quick().await;
    let new = world.post("/api/embed", r#"{"model":"demo","input":["one two","three"]}"#).await.json();
    assert_eq!(new["embeddings"].as_array().unwrap().len(), 2);
    assert_eq!(new["prompt_eval_count"], 3);
    let old = world.post("/api/embeddings", r#"{"model":"demo","prompt":"three"}"#).await.json();
    assert_eq!(old["embedding"], new["embeddings"][1]);
    assert_eq!(old.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn the_listings_name_the_model_and_ps_only_while_it_is_in_use() {
    let world = World::quick().await;
    assert_eq!(world.get("/").await.body, "Ollama is running");
    let head = request(world.address, "HEAD", "/", "", "").await;
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, Some("17"), ""));
    assert!(world.get("/api/version").await.json()["version"].as_str().unwrap().contains("demo"));
    assert_eq!(world.get("/api/tags").await.json()["models"][0]["name"], "demo:latest");
    assert_eq!(world.get("/api/ps").await.json(), json!({"models": []}));
    world.post("/api/chat", &format!("{HELLO},\"stream\":false}}")).await;
    assert_eq!(world.get("/api/ps").await.json()["models"][0]["name"], "demo:latest");
    let shown = world.post("/api/show", r#"{"model":"TINY:latest"}"#).await.json();
    assert_eq!(shown["capabilities"], json!(["completion", "embedding"]));
}

#[tokio::test]
async fn refusals_have_the_shape_and_the_status_of_the_real_server() {
    let world = World::quick().await;
    for (path, body, status, error) in [
        ("/api/chat", r#"{"model":"nope","messages":[]}"#, 404, "model 'nope' not found"),
        ("/api/generate", r#"{"model":"nope"}"#, 404, "model 'nope' not found"),
        ("/api/show", r#"{"model":"nope"}"#, 404, "model 'nope' not found"),
        ("/api/embed", r#"{"model":"nope"}"#, 404, "model \"nope\" not found, try pulling it first"),
        ("/api/chat", "", 400, "missing request body"),
        ("/api/chat", r#"{"model":}"#, 400, "invalid character '}' looking for beginning of value"),
        ("/api/chat", r#"{"messages":[]}"#, 400, "model is required"),
        (
            "/api/chat",
            r#"{"model":"demo","messages":"hi"}"#,
            400,
            "json: cannot unmarshal string into Go struct field messages of type []api.Message",
        ),
        (
            "/api/generate",
            r#"{"model":"demo","prompt":"x","options":{"num_predict":"3"}}"#,
            500,
            "option \"num_predict\" must be of type integer",
        ),
    ] {
        let reply = world.post(path, body).await;
        assert_eq!((reply.status, reply.json()), (status, json!({"error": error})), "{path} {body}");
    }
    assert_eq!(world.engine.requests(), 0, "no refused request is taken up");
    assert_eq!(world.get("/api/nothing").await.body, "404 page not found");
    let wrong = world.get("/api/chat").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    assert_eq!(request(world.address, "GET", "/", "host: evil.example\r\n", "").await.status, 403);
    assert_eq!(request(world.address, "GET", "/", "origin: https://evil.example\r\n", "").await.status, 403);
}
