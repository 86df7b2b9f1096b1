//! The ends that the gateway writes itself, each well-formed behind whatever the client already has.

use super::{
    place::At,
    scan::{Cut, LineAt, SEEN_CHOICES, SEEN_DONE, SEEN_MESSAGE, SEEN_RESPONSE, Wire},
};
use crate::ask::Dialect;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a length stop says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LengthEnd<'a> {
    /// For a stream whose own chunks have shown no id.
    pub(crate) id: &'a str,
    /// The name that the caller asked by, for a stream whose own chunks have shown none.
    pub(crate) model: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) input: u64,
    pub(crate) output: u64,
    /// Answers asked for in parallel (OpenAI `n`); each gets its stop.
    pub(crate) choices: u64,
    /// The client of an OpenAI stream asked for its usage.
    pub(crate) usage: bool,
}

/// Members of an OpenAI stream's first chunk, as raw JSON, that all its chunks repeat.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) id: Option<String>,
    pub(super) created: Option<String>,
    pub(super) model: Option<String>,
    pub(super) system_fingerprint: Option<String>,
}

/// What an Anthropic stream has begun and not ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opened {
    pub(super) message: bool,
    /// Index of the content block.
    pub(super) block: Option<u64>,
}

/// An event's text from where the client stands.
struct Text {
    bytes: Vec<u8>,
    /// The client stands behind `data:`.
    in_data: bool,
}

pub(super) fn sse_error(wire: Wire, cut: &Cut, sent: &[u8], message: &str, code: &str) -> Bytes {
    let anthropic = wire == Wire::Anthropic;
    let error = if anthropic { anthropic_error(message, code) } else { openai_error(message, code) };
    let name = anthropic.then_some("error");
    let members = members_of(&error);
    // The name that comes last names the event, so that a cut one becomes the error.
    let rename = if anthropic { "\nevent: error" } else { "" };
    let (mut text, carried) = reach_event(cut, sent, &members, rename);
    if !carried {
        text.push_event(name, &error);
    }
    text.bytes.into()
}

pub(super) fn lines_error(cut: &Cut, sent: &[u8], message: &str) -> Bytes {
    let error = json!({ "error": message });
    let (mut bytes, carried) = reach_line(cut, sent, &members_of(&error));
    if !carried {
        push_line(&mut bytes, &error);
    }
    bytes.into()
}

pub(super) fn whole_error(wire: Wire, cut: &Cut, sent: &[u8], message: &str, code: &str) -> Bytes {
    let error = match wire {
        Wire::Json(Dialect::Ollama) | Wire::OllamaChat | Wire::OllamaGenerate => json!({ "error": message }),
        Wire::Json(Dialect::Anthropic) | Wire::Anthropic => anthropic_error(message, code),
        Wire::Json(Dialect::OpenAi) | Wire::OpenAiChat | Wire::OpenAiText => openai_error(message, code),
    };
    if cut.place.at == At::Before {
        return error.to_string().into();
    }
    cut.place.finish(sent, &members_of(&error)).unwrap_or_default().into()
}

/// Chunks with `finish_reason` `length`, the usage if it was asked for, `[DONE]`.
pub(super) fn openai_length(
    wire: Wire,
    cut: &Cut,
    sent: &[u8],
    identity: Option<&Identity>,
    end: &LengthEnd<'_>,
) -> Bytes {
    let choice = |index: u64, reason: Option<&str>| {
        if wire == Wire::OpenAiText {
            json!({"index": index, "text": "", "logprobs": null, "finish_reason": reason})
        } else {
            json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason})
        }
    };
    // A client reads the first choice of each chunk, so a cut chunk gets one.
    let lacking = if cut.seen & SEEN_CHOICES == 0 {
        members_of(&json!({ "choices": [choice(0, None)] }))
    } else {
        String::new()
    };
    let (mut text, _) = reach_event(cut, sent, &lacking, "");
    for index in 0..end.choices.max(1) {
        text.push_event(None, &openai_chunk(wire, identity, end, &[choice(index, Some("length"))]));
    }
    if end.usage {
        let mut chunk = openai_chunk(wire, identity, end, &[]);
        if let Value::Object(members) = &mut chunk {
            let total = end.input.saturating_add(end.output);
            let usage =
                json!({"prompt_tokens": end.input, "completion_tokens": end.output, "total_tokens": total});
            members.insert("usage".to_owned(), usage);
        }
        text.push_event(None, &chunk);
    }
    text.bytes.extend_from_slice(b"data: [DONE]\n\n");
    text.bytes.into()
}

/// The open block's end, `message_delta` with `max_tokens`, `message_stop`.
pub(super) fn anthropic_length(cut: &Cut, sent: &[u8], opened: Opened, end: &LengthEnd<'_>) -> Bytes {
    // A cut event is made one that clients pass over.
    let (mut text, _) = reach_event(cut, sent, "", "\nevent: ping");
    if text.in_data {
        text.bytes.extend_from_slice(b"{\"type\":\"ping\"}\nevent: ping\n\n");
        text.in_data = false;
    }
    let mut push = |event: &Value| text.push_event(event.get("type").and_then(Value::as_str), event);
    if !opened.message {
        push(
            &json!({"type": "message_start", "message": {"id": end.id, "type": "message", "role": "assistant",
            "model": end.model, "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": end.input, "output_tokens": 0}}}),
        );
    }
    if let Some(index) = opened.block {
        push(&json!({"type": "content_block_stop", "index": index}));
    }
    push(&json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens", "stop_sequence": null},
        "usage": {"input_tokens": end.input, "output_tokens": end.output}}));
    push(&json!({"type": "message_stop"}));
    text.bytes.into()
}

/// The line with `done_reason` `length` and the counts.
pub(super) fn lines_length(wire: Wire, cut: &Cut, sent: &[u8], end: &LengthEnd<'_>) -> Bytes {
    let chat = wire == Wire::OllamaChat;
    let answer = if chat {
        json!({"message": {"role": "assistant", "content": ""}})
    } else {
        json!({ "response": "" })
    };
    let mut lacking = Vec::new();
    if cut.seen & if chat { SEEN_MESSAGE } else { SEEN_RESPONSE } == 0 {
        lacking.push(members_of(&answer));
    }
    if cut.seen & SEEN_DONE == 0 {
        lacking.push("\"done\":false".to_owned());
    }
    let (mut bytes, _) = reach_line(cut, sent, &lacking.join(","));
    let mut line = json!({"model": end.model, "created_at": end.now.to_string(), "done": true,
        "done_reason": "length", "prompt_eval_count": end.input, "eval_count": end.output});
    if let (Value::Object(line), Value::Object(answer)) = (&mut line, answer) {
        line.extend(answer);
    }
    push_line(&mut bytes, &line);
    bytes.into()
}

/// Ends what the client has of an event, so that another can follow. A cut JSON object gets `members`, and the event the
/// lines `more`; the second value is true when that was done. An event of which no data came is left open: what is
/// written next is its data.
fn reach_event(cut: &Cut, sent: &[u8], members: &str, more: &str) -> (Text, bool) {
    let place = &cut.place;
    let dispatch = if cut.data { "\n" } else { "" };
    let plain = |text: String| (Text { bytes: text.into_bytes(), in_data: false }, false);
    let carry = |before: &str| {
        let rest = place.finish(sent, members)?;
        let bytes = [before.as_bytes(), &rest, more.as_bytes(), b"\n\n"].concat();
        Some((Text { bytes, in_data: false }, true))
    };
    match cut.line {
        // Of a value that was cut between two of its data lines the rest can be a third.
        LineAt::Start if cut.data && place.is_open() => {
            carry("data: ").unwrap_or_else(|| plain(dispatch.to_owned()))
        }
        LineAt::Start => plain(dispatch.to_owned()),
        LineAt::Other => plain(format!("\n{dispatch}")),
        LineAt::Json if place.is_before() && !cut.data => (Text { bytes: Vec::new(), in_data: true }, false),
        LineAt::Json => carry("").unwrap_or_else(|| plain("\n\n".to_owned())),
    }
}

fn reach_line(cut: &Cut, sent: &[u8], members: &str) -> (Vec<u8>, bool) {
    if cut.line == LineAt::Start || cut.place.is_before() {
        return (Vec::new(), false);
    }
    match cut.place.finish(sent, members) {
        Some(mut rest) => {
            rest.push(b'\n');
            (rest, true)
        }
        None => (b"\n".to_vec(), false),
    }
}

impl Text {
    fn push_event(&mut self, name: Option<&str>, data: &Value) {
        let data = data.to_string();
        let event = match (name, self.in_data) {
            (Some(name), true) => format!("{data}\nevent: {name}\n\n"),
            (Some(name), false) => format!("event: {name}\ndata: {data}\n\n"),
            (None, true) => format!("{data}\n\n"),
            (None, false) => format!("data: {data}\n\n"),
        };
        self.in_data = false;
        self.bytes.extend_from_slice(event.as_bytes());
    }
}

fn push_line(bytes: &mut Vec<u8>, line: &Value) {
    bytes.extend_from_slice(line.to_string().as_bytes());
    bytes.push(b'\n');
}

/// An object's text without its braces.
fn members_of(object: &Value) -> String {
    let text = object.to_string();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

fn openai_error(message: &str, code: &str) -> Value {
    json!({"error": {"message": message, "type": "server_error", "param": null, "code": code}})
}

fn anthropic_error(message: &str, code: &str) -> Value {
    json!({"type": "error", "error": {"type": "api_error", "message": message, "code": code}})
}

fn openai_chunk(wire: Wire, identity: Option<&Identity>, end: &LengthEnd<'_>, choices: &[Value]) -> Value {
    let own = |pick: fn(&Identity) -> &Option<String>| -> Option<Value> {
        serde_json::from_str(identity.and_then(|identity| pick(identity).as_deref())?).ok()
    };
    let object = if wire == Wire::OpenAiText { "text_completion" } else { "chat.completion.chunk" };
    let mut chunk = json!({
        "id": own(|identity| &identity.id).unwrap_or_else(|| end.id.into()),
        "object": object,
        "created": own(|identity| &identity.created).unwrap_or_else(|| end.now.as_second().into()),
        "model": own(|identity| &identity.model).unwrap_or_else(|| end.model.into()),
        "choices": choices,
    });
    if let (Value::Object(members), Some(fingerprint)) =
        (&mut chunk, own(|identity| &identity.system_fingerprint))
    {
        members.insert("system_fingerprint".to_owned(), fingerprint);
    }
    chunk
}
