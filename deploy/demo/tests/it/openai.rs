use crate::wire::World;
use attach_demo::engine::model::tokens;
use serde_json::json;

const ASK: &str = r#"{"model":"llama3","messages":[{"role":"user","content":"Hello"}]"#;

#[tokio::test]
async fn a_chat_is_whole_by_default_and_counted() {
    let world = World::quick().await;
    let reply = world.post("/v1/chat/completions", &format!("{ASK}}}")).await.json();
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    let (prompt, said) = (tokens("user: Hello\nassistant:").count(), tokens(text).count());
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said});
    assert_eq!(reply["usage"], usage);
}

#[tokio::test]
async fn a_stream_tells_its_usage_only_to_who_asked_for_it() {
    let world = World::quick().await;
    let silent = world.post("/v1/chat/completions", &format!("{ASK},\"stream\":true}}")).await;
    assert_eq!(silent.header("content-type"), Some("text/event-stream"));
    assert!(silent.body.ends_with("data: [DONE]\n\n"));
    assert!(!silent.body.contains("usage"));
    let asked = format!("{ASK},\"stream\":true,\"stream_options\":{{\"include_usage\":true}}}}");
    let told = world.post("/v1/chat/completions", &asked).await.events();
    let [chunks @ .., end, usage] = told.as_slice() else { panic!("{told:?}") };
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], chunks.len());
}

#[tokio::test]
async fn each_chunk_of_a_text_completion_has_a_usage_and_only_the_last_is_real() {
    let world = World::quick().await;
    let body = r#"{"model":"tiny","prompt":"Hi","stream":true,"stream_options":{"include_usage":true},"max_tokens":3}"#;
    let events = world.post("/v1/completions", body).await.events();
    assert_eq!(events[0]["choices"][0]["text"], "I");
    assert_eq!(events[0]["usage"]["total_tokens"], 0);
    assert_eq!(events[3]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[4]["usage"], json!({"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}));
}

#[tokio::test]
async fn either_name_of_the_token_limit_counts_and_the_smaller_one_wins() {
    let world = World::quick().await;
    for (limit, count) in [
        (r#""max_tokens":4"#, 4),
        (r#""max_completion_tokens":2"#, 2),
        (r#""max_tokens":9,"max_completion_tokens":3"#, 3),
    ] {
        let reply = world.post("/v1/chat/completions", &format!("{ASK},{limit}}}")).await.json();
        assert_eq!(reply["usage"]["completion_tokens"], count);
        assert_eq!(reply["choices"][0]["finish_reason"], "length");
    }
}

#[tokio::test]
async fn models_are_listed_and_looked_up_by_any_of_their_names() {
    let world = World::quick().await;
    let ids: Vec<_> = world.get("/v1/models").await.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["demo:latest", "llama3:latest", "llama3.2:latest", "tiny:latest"]);
    assert_eq!(world.get("/v1/models/tiny").await.json()["id"], "tiny");
    assert_eq!(world.get("/v1/models/llama3%3Alatest").await.json()["id"], "llama3:latest");
    assert_eq!(world.get("/v1/models/nope").await.status, 404);
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_base64() {
    let world = World::quick().await;
    let plain = world.post("/v1/embeddings", r#"{"model":"demo","input":"one two"}"#).await.json();
    assert_eq!(plain["data"][0]["embedding"].as_array().unwrap().len(), 64);
    assert_eq!(plain["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    let body = r#"{"model":"demo","input":["one two"],"encoding_format":"base64"}"#;
    let packed = world.post("/v1/embeddings", body).await.json();
    // 64 numbers of 4 bytes, 3 bytes in 4 characters.
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 344);
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_dialect() {
    let world = World::quick().await;
    for (body, status, message, kind) in [
        (
            r#"{"model":"nope","messages":[{"role":"user","content":"x"}]}"#,
            404,
            "model 'nope' not found",
            "api_error",
        ),
        ("", 400, "EOF", "invalid_request_error"),
        (r#"{"model":"demo","messages":[]}"#, 400, "[] is too short - 'messages'", "invalid_request_error"),
    ] {
        let reply = world.post("/v1/chat/completions", body).await;
        let error = json!({"message": message, "type": kind, "param": null, "code": null});
        assert_eq!((reply.status, reply.json()), (status, json!({"error": error})), "{body}");
    }
}
