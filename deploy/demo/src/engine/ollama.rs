//! Ollama's own dialect: `/api/*`, streams as JSON lines.

use super::{
    Engine, VERSION,
    ask::Ask,
    body::{Body, Piece},
    fault::Fault,
    job::Job,
    json,
    model::{self, Answer, Bounds, End},
    model_of, model_or, named, names, to_json, typed,
};
use crate::clock;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    iter,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// How long a model stays listed as loaded after its last use: Ollama's default `keep_alive`.
const KEEP_ALIVE: SignedDuration = SignedDuration::from_mins(5);

/// Stands for the file that the model does not have; clients only compare it.
const DIGEST: &str = "demo000000000000000000000000000000000000000000000000000000000000";

/// What the model claims to read at once; it has no window, the number is for clients that divide by it.
const CONTEXT_LENGTH: u64 = 131_072;

/// One line of an answer, and the whole of one that is not streamed.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: Timestamp,
    #[serde(flatten)]
    said: Said<'a>,
    done: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Said<'a> {
    Message { role: &'static str, content: &'a str },
    Response(&'a str),
}

/// Durations are nanoseconds.
#[derive(Serialize)]
struct Ended {
    done_reason: &'static str,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: usize,
    prompt_eval_duration: u64,
    eval_count: usize,
    eval_duration: u64,
}

/// `/api/chat` or `/api/generate`: they differ in where the text stands.
#[derive(Clone, Copy)]
enum Form {
    Chat,
    Generate,
}

impl Form {
    fn said(self, text: &str) -> Said<'_> {
        match self {
            Self::Chat => Said::Message { role: "assistant", content: text },
            Self::Generate => Said::Response(text),
        }
    }
}

pub(super) fn version() -> Response<Body> {
    json(&json!({"version": VERSION}))
}

pub(super) fn tags() -> Response<Body> {
    json(&json!({"models": names::listed().map(|name| listing(&name)).collect::<Vec<_>>()}))
}

pub(super) fn running(engine: &Engine) -> Response<Body> {
    let last_used = Timestamp::from_second(engine.last_used.load(Ordering::Relaxed)).unwrap_or_default();
    let expires_at = last_used.saturating_add(KEEP_ALIVE).unwrap_or_default();
    let mut models = Vec::new();
    if expires_at > clock::now()
        && let Some(name) = names::listed().next()
    {
        let mut model = listing(&name);
        if let Value::Object(fields) = &mut model {
            fields.remove("modified_at");
            fields.insert("expires_at".to_owned(), json!(expires_at));
            fields.insert("size_vram".to_owned(), json!(0));
            fields.insert("context_length".to_owned(), json!(CONTEXT_LENGTH));
        }
        models.push(model);
    }
    json(&json!({"models": models}))
}

pub(super) fn show(ask: &Ask) -> Result<Response<Body>, Fault> {
    // Clients of old send the model as `name`.
    if ask.get("model").is_none() {
        named(ask.text("name")?, Fault::UnknownModel)?;
    } else {
        model_of(ask)?;
    }
    Ok(json(&json!({
        "modelfile": "# The demo model of Attach Gateway. It is part of the program: there is no file.\nFROM scratch\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": details(),
        "model_info": {
            "general.architecture": "attach-demo",
            "general.basename": "demo",
            "attach-demo.context_length": CONTEXT_LENGTH,
        },
        "capabilities": ["completion", "embedding"],
        "modified_at": modified_at(),
    })))
}

pub(super) async fn chat(engine: Arc<Engine>, ask: &Ask) -> Result<Response<Body>, Fault> {
    let name = model_of(ask)?;
    ask.refuse_tools()?;
    if ask.list("messages")?.is_empty() {
        return Ok(load_only(Form::Chat, &engine, ask, &name));
    }
    complete(engine, Form::Chat, ask, name, &ask.chat_prompt()?).await
}

pub(super) async fn generate(engine: Arc<Engine>, ask: &Ask) -> Result<Response<Body>, Fault> {
    let name = model_of(ask)?;
    let mut prompt = ask.text("system")?.map(|system| format!("{system}\n\n")).unwrap_or_default();
    prompt.push_str(ask.text("prompt")?.unwrap_or_default());
    if prompt.is_empty() {
        return Ok(load_only(Form::Generate, &engine, ask, &name));
    }
    complete(engine, Form::Generate, ask, name, &prompt).await
}

pub(super) fn embed(engine: &Engine, ask: &Ask) -> Result<Response<Body>, Fault> {
    let started = Instant::now();
    let name = model_or(ask, Fault::UnknownModelTryPull)?;
    engine.note_request();
    let texts: Vec<String> = ask.texts("input").into_iter().filter(|text| !text.is_empty()).collect();
    Ok(json(&json!({
        "model": name,
        "embeddings": texts.iter().map(|text| model::embed(text)).collect::<Vec<_>>(),
        "total_duration": nanos(started.elapsed()),
        "load_duration": 0,
        "prompt_eval_count": texts.iter().map(|text| model::tokens(text).count()).sum::<usize>(),
    })))
}

/// The older route; it tells no counts, as in the real server.
pub(super) fn embeddings(engine: &Engine, ask: &Ask) -> Result<Response<Body>, Fault> {
    model_of(ask)?;
    engine.note_request();
    Ok(json(&json!({"embedding": model::embed(ask.text("prompt")?.unwrap_or_default())})))
}

async fn complete(
    engine: Arc<Engine>,
    form: Form,
    ask: &Ask,
    name: String,
    prompt: &str,
) -> Result<Response<Body>, Fault> {
    let bounds: Bounds = ask.options()?;
    let streamed = ask.flag("stream")?.unwrap_or(true);
    let answer = model::answer(prompt, &bounds);
    let job = Job::start(engine);
    if streamed {
        return Ok(stream(form, name, answer, job));
    }
    job.run(&answer).await;
    Ok(json(&Line {
        model: &name,
        created_at: clock::now(),
        said: form.said(&answer.text()),
        done: true,
        ended: Some(ended(&answer, answer.tokens.len(), &job)),
    }))
}

fn stream(form: Form, name: String, mut answer: Answer, job: Job) -> Response<Body> {
    let token_time = job.engine.token_time;
    let mut tokens = std::mem::take(&mut answer.tokens).into_iter();
    let mut sent = 0;
    let mut over = false;
    let pieces = iter::from_fn(move || {
        let line = |said, ended: Option<Ended>| {
            let done = ended.is_some();
            to_json(&Line { model: &name, created_at: clock::now(), said, done, ended }) + "\n"
        };
        if let Some(token) = tokens.next() {
            job.count_token();
            sent += 1;
            return Some(Piece::Token(line(form.said(&token), None)));
        }
        (!std::mem::replace(&mut over, true))
            .then(|| Piece::Plain(line(form.said(""), Some(ended(&answer, sent, &job)))))
    });
    typed(StatusCode::OK, "application/x-ndjson", Body::stream(token_time, pieces))
}

/// A request without a prompt loads or unloads the model, which for this one means nothing.
fn load_only(form: Form, engine: &Engine, ask: &Ask, name: &str) -> Response<Body> {
    let unload = ask.get("keep_alive").is_some_and(|value| value.as_i64() == Some(0));
    if unload {
        engine.last_used.store(0, Ordering::Relaxed);
    } else {
        engine.last_used.store(clock::now().as_second(), Ordering::Relaxed);
    }
    let said = match form {
        Form::Chat => json!({"message": {"role": "assistant", "content": ""}}),
        Form::Generate => json!({"response": ""}),
    };
    let mut line = json!({
        "model": name,
        "created_at": clock::now(),
        "done": true,
        "done_reason": if unload { "unload" } else { "load" },
    });
    if let (Value::Object(line), Value::Object(said)) = (&mut line, said) {
        line.extend(said);
    }
    json(&line)
}

fn ended(answer: &Answer, eval_count: usize, job: &Job) -> Ended {
    let total = nanos(job.elapsed());
    Ended {
        done_reason: match answer.end {
            End::Natural | End::StopText => "stop",
            End::Length => "length",
        },
        total_duration: total,
        load_duration: 0,
        prompt_eval_count: answer.prompt_tokens,
        prompt_eval_duration: 0,
        eval_count,
        eval_duration: total,
    }
}

fn listing(name: &str) -> Value {
    json!({
        "name": name,
        "model": name,
        "modified_at": modified_at(),
        "size": 0,
        "digest": DIGEST,
        "details": details(),
    })
}

fn details() -> Value {
    json!({
        "parent_model": "",
        "format": "demo",
        "family": "attach-demo",
        "families": ["attach-demo"],
        "parameter_size": "0",
        "quantization_level": "none",
    })
}

/// The model is as old as the program says: a fixed day, so that listings can be compared.
fn modified_at() -> &'static str {
    "2026-01-01T00:00:00Z"
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
