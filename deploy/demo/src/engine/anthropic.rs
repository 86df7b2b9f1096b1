//! Anthropic's dialect as Ollama's server speaks it: `/v1/messages`, streams as named server-sent events.

use super::{
    Engine,
    ask::Ask,
    body::{Body, Piece},
    fault::Fault,
    job::Job,
    json,
    model::{self, Answer, Bounds, End},
    model_of, typed,
};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::{iter, sync::Arc};

pub(super) async fn messages(engine: Arc<Engine>, ask: &Ask) -> Result<Response<Body>, Fault> {
    let name = model_of(ask)?;
    let Some(max_tokens) = ask.count("max_tokens")? else {
        return Err(Fault::NoMaxTokens);
    };
    if ask.list("messages")?.is_empty() {
        return Err(Fault::NoMessages);
    }
    ask.refuse_tools()?;
    let streamed = ask.flag("stream")?.unwrap_or(false);
    let bounds = Bounds { max_tokens: Some(max_tokens), stop: ask.texts("stop_sequences") };
    let answer = model::answer(&ask.chat_prompt()?, &bounds);
    let job = Job::start(engine);
    if streamed {
        return Ok(stream(&name, answer, job));
    }
    job.run(&answer).await;
    let mut message = message_head(&name, &answer, job.number);
    if let Value::Object(fields) = &mut message {
        fields.insert("content".to_owned(), json!([{"type": "text", "text": answer.text()}]));
        fields.insert("stop_reason".to_owned(), json!(stop_reason(answer.end)));
        fields.insert("usage".to_owned(), usage(answer.prompt_tokens, answer.tokens.len()));
    }
    Ok(json(&message))
}

fn stream(name: &str, mut answer: Answer, job: Job) -> Response<Body> {
    let token_time = job.engine.token_time;
    let head = event("message_start", json!({"message": message_head(name, &answer, job.number)}))
        + &event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}}));
    let mut tokens = std::mem::take(&mut answer.tokens).into_iter();
    let mut sent = 0;
    let mut over = false;
    let rest = iter::from_fn(move || {
        if let Some(token) = tokens.next() {
            job.count_token();
            sent += 1;
            let delta = json!({"index": 0, "delta": {"type": "text_delta", "text": token}});
            return Some(Piece::Token(event("content_block_delta", delta)));
        }
        if std::mem::replace(&mut over, true) {
            return None;
        }
        let delta = json!({
            "delta": {"stop_reason": stop_reason(answer.end), "stop_sequence": null},
            "usage": usage(answer.prompt_tokens, sent),
        });
        Some(Piece::Plain(
            event("content_block_stop", json!({"index": 0}))
                + &event("message_delta", delta)
                + &event("message_stop", json!({})),
        ))
    });
    let pieces = iter::once(Piece::Plain(head)).chain(rest);
    typed(StatusCode::OK, "text/event-stream", Body::stream(token_time, pieces))
}

fn message_head(name: &str, answer: &Answer, number: u64) -> Value {
    json!({
        "id": format!("msg_{number:024x}"),
        "type": "message",
        "role": "assistant",
        "model": name,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage(answer.prompt_tokens, 0),
    })
}

fn usage(input_tokens: usize, output_tokens: usize) -> Value {
    json!({"input_tokens": input_tokens, "output_tokens": output_tokens})
}

fn stop_reason(end: End) -> &'static str {
    match end {
        End::Natural => "end_turn",
        End::StopText => "stop_sequence",
        End::Length => "max_tokens",
    }
}

fn event(name: &str, mut data: Value) -> String {
    if let Value::Object(fields) = &mut data {
        fields.insert("type".to_owned(), json!(name));
    }
    format!("event: {name}\ndata: {data}\n\n")
}
