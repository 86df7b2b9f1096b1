//! OpenAI's dialect as Ollama's server speaks it: `/v1/*`, streams as server-sent events.

use super::{
    Engine,
    ask::Ask,
    body::{Body, Piece},
    fault::Fault,
    job::Job,
    json,
    model::{self, Answer, Bounds, End},
    model_of, names, to_json, typed,
};
use crate::clock;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use std::{iter, sync::Arc};

const FINGERPRINT: &str = "fp_attach_demo";

/// When the model was made, in seconds since the epoch: the day that `/api/tags` tells too.
const MODEL_CREATED: i64 = 1_767_225_600;

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize, Clone, Copy)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    fn new(prompt_tokens: usize, completion_tokens: usize) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// `/v1/chat/completions` or the older `/v1/completions`.
#[derive(Clone, Copy)]
enum Form {
    Chat,
    Text,
}

impl Form {
    fn object(self, streamed: bool) -> &'static str {
        match (self, streamed) {
            (Self::Chat, true) => "chat.completion.chunk",
            (Self::Chat, false) => "chat.completion",
            (Self::Text, _) => "text_completion",
        }
    }

    /// The numbers start again after a thousand, as the real server's do: an id here is no identity.
    fn id(self, number: u64) -> String {
        match self {
            Self::Chat => format!("chatcmpl-{}", number % 1000),
            Self::Text => format!("cmpl-{}", number % 1000),
        }
    }

    fn choice(self, streamed: bool, text: &str, finish_reason: Option<&str>) -> Value {
        let message = || json!({"role": "assistant", "content": text});
        match (self, streamed) {
            (Self::Chat, true) => json!({"index": 0, "delta": message(), "finish_reason": finish_reason}),
            (Self::Chat, false) => json!({"index": 0, "message": message(), "finish_reason": finish_reason}),
            (Self::Text, _) => json!({"index": 0, "text": text, "finish_reason": finish_reason}),
        }
    }
}

pub(super) fn models() -> Response<Body> {
    json(&json!({"object": "list", "data": names::listed().map(|name| listing(&name)).collect::<Vec<_>>()}))
}

pub(super) fn model(name: String) -> Result<Response<Body>, Fault> {
    if names::is_known(&name) { Ok(json(&listing(&name))) } else { Err(Fault::UnknownModel(name)) }
}

pub(super) async fn chat(engine: Arc<Engine>, ask: &Ask) -> Result<Response<Body>, Fault> {
    if ask.list("messages")?.is_empty() {
        return Err(Fault::NoMessages);
    }
    let name = model_of(ask)?;
    ask.refuse_tools()?;
    complete(engine, Form::Chat, ask, name, &ask.chat_prompt()?).await
}

pub(super) async fn completion(engine: Arc<Engine>, ask: &Ask) -> Result<Response<Body>, Fault> {
    let name = model_of(ask)?;
    let prompt = ask.text("prompt")?.unwrap_or_default();
    complete(engine, Form::Text, ask, name, prompt).await
}

pub(super) fn embeddings(engine: &Engine, ask: &Ask) -> Result<Response<Body>, Fault> {
    let name = model_of(ask)?;
    let texts = ask.texts("input");
    let in_base64 = ask.text("encoding_format")? == Some("base64");
    engine.note_request();
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = model::embed(text);
            let embedding = if in_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(BASE64_STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let prompt_tokens: usize = texts.iter().map(|text| model::tokens(text).count()).sum();
    Ok(json(&json!({
        "object": "list",
        "data": data,
        "model": name,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    })))
}

async fn complete(
    engine: Arc<Engine>,
    form: Form,
    ask: &Ask,
    name: String,
    prompt: &str,
) -> Result<Response<Body>, Fault> {
    let max_tokens = match (ask.count("max_tokens")?, ask.count("max_completion_tokens")?) {
        (Some(old), Some(new)) => Some(old.min(new)),
        (old, new) => old.or(new),
    };
    let streamed = ask.flag("stream")?.unwrap_or(false);
    let include_usage = ask
        .get("stream_options")
        .and_then(|options| options.get("include_usage"))
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let answer = model::answer(prompt, &Bounds { max_tokens, stop: ask.texts("stop") });
    let job = Job::start(engine);
    if streamed {
        return Ok(stream(form, name, answer, job, include_usage));
    }
    job.run(&answer).await;
    Ok(json(&Completion {
        id: &form.id(job.number),
        object: form.object(false),
        created: clock::now().as_second(),
        model: &name,
        system_fingerprint: FINGERPRINT,
        choices: &[form.choice(false, &answer.text(), Some(finish_reason(answer.end)))],
        usage: Some(Usage::new(answer.prompt_tokens, answer.tokens.len())),
    }))
}

/// What is still to come of a stream.
enum Next {
    Tokens,
    Usage,
    Done,
    Nothing,
}

fn stream(form: Form, name: String, mut answer: Answer, job: Job, include_usage: bool) -> Response<Body> {
    let token_time = job.engine.token_time;
    let id = form.id(job.number);
    let created = clock::now().as_second();
    // In the older form each chunk carries zeros where the usage will be; only the one without choices is real.
    let placeholder = (include_usage && matches!(form, Form::Text)).then(|| Usage::new(0, 0));
    let mut tokens = std::mem::take(&mut answer.tokens).into_iter();
    let mut sent = 0;
    let mut next = Next::Tokens;
    let pieces = iter::from_fn(move || {
        let event = |choices: &[Value], usage| {
            let chunk = Completion {
                id: &id,
                object: form.object(true),
                created,
                model: &name,
                system_fingerprint: FINGERPRINT,
                choices,
                usage,
            };
            format!("data: {}\n\n", to_json(&chunk))
        };
        match next {
            Next::Tokens => {
                if let Some(token) = tokens.next() {
                    job.count_token();
                    sent += 1;
                    return Some(Piece::Token(event(&[form.choice(true, &token, None)], placeholder)));
                }
                next = if include_usage { Next::Usage } else { Next::Done };
                let last = form.choice(true, "", Some(finish_reason(answer.end)));
                Some(Piece::Plain(event(&[last], placeholder)))
            }
            Next::Usage => {
                next = Next::Done;
                Some(Piece::Plain(event(&[], Some(Usage::new(answer.prompt_tokens, sent)))))
            }
            Next::Done => {
                next = Next::Nothing;
                Some(Piece::Plain("data: [DONE]\n\n".to_owned()))
            }
            Next::Nothing => None,
        }
    });
    typed(StatusCode::OK, "text/event-stream", Body::stream(token_time, pieces))
}

fn finish_reason(end: End) -> &'static str {
    match end {
        End::Natural | End::StopText => "stop",
        End::Length => "length",
    }
}

fn listing(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": "attach-demo"})
}
