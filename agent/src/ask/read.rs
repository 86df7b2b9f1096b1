//! From a body to an [`Ask`]: the fields that policy needs, each with its place, and nothing else parsed.

use super::{
    body::Room,
    route::{Classified, Dialect, Operation, Route},
};
use crate::json_edit::{BodyFault as JsonFault, Edits, Member, Tail, TopLevel};
use attach_proto::{bundle::UpstreamKind, id::ModelName};
use bytes::Bytes;
use http::Method;
use std::{fmt, ops::Range};

/// Bytes of prompt to a token, for the reservation alone; what is recorded is the engine's count. Four is what
/// English text has in the common vocabularies.
const BYTES_PER_TOKEN: u64 = 4;

/// Answers to one prompt. More is no use to a person, and would multiply what a request reserves beyond any limit.
const MAX_CHOICES: u64 = 128;

/// Top-level members that decide who is charged what. An engine written in Go takes `MODEL` for `model` and the last
/// of two; a body in which one of these is written twice or in another case is refused, so that what is checked is
/// what runs.
const READ: &[&str] = &[
    "model",
    "name",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "best_of",
    "options",
    "stream_options",
    "prompt",
    "messages",
    "input",
    "system",
    "tools",
    "suffix",
];

const READ_OF_OPTIONS: &[&str] = &["num_predict"];
const READ_OF_STREAM_OPTIONS: &[&str] = &["include_usage"];

/// What one request asks for.
#[derive(Debug)]
pub(crate) struct Ask {
    classified: Classified,
    model: Option<ModelName>,
    stream: bool,
    input_estimate: u64,
    output_asked: Option<u64>,
    choices: u64,
    /// Whether the caller itself asked for usage in the stream.
    wants_usage: bool,
    body: Bytes,
    places: Places,
    _room: Option<Room>,
}

/// Where in the body stands what may have to change.
#[derive(Debug, Default)]
struct Places {
    model: Option<Range<usize>>,
    max_tokens: Option<Range<usize>>,
    max_completion_tokens: Option<Range<usize>>,
    num_predict: Option<Range<usize>>,
    include_usage: Option<Range<usize>>,
    /// The ends of the objects that may get another member.
    body: Option<Tail>,
    options: Option<Tail>,
    stream_options: Option<Tail>,
    /// A `prompt` where the engine wants `messages`: the whole member, and its value.
    prompt_for_messages: Option<(Range<usize>, Range<usize>)>,
}

/// What is wrong with the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AskFault {
    Json(JsonFault),
    NoModel,
    Field { name: &'static str, problem: &'static str },
}

impl fmt::Display for AskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => write!(f, "{fault}"),
            Self::NoModel => f.write_str("model is required"),
            Self::Field { name, problem } => write!(f, "{name}: {problem}"),
        }
    }
}

impl Ask {
    pub(crate) fn route(&self) -> &Route {
        &self.classified.route
    }

    pub(crate) fn method(&self) -> &Method {
        &self.classified.method
    }

    /// Path and query at the engine.
    pub(crate) fn engine_path(&self) -> String {
        let model = self.classified.model_in_path.as_deref().unwrap_or_default();
        let path = format!("{}{model}", self.classified.route.engine_path);
        match &self.classified.query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    }

    pub(crate) fn model(&self) -> Option<&ModelName> {
        self.model.as_ref()
    }

    pub(crate) fn stream(&self) -> bool {
        self.stream
    }

    /// Tokens, roughly.
    pub(crate) fn input_estimate(&self) -> u64 {
        self.input_estimate
    }

    /// Output tokens that the caller allows for each choice.
    pub(crate) fn output_asked(&self) -> Option<u64> {
        self.output_asked
    }

    pub(crate) fn choices(&self) -> u64 {
        self.choices
    }

    /// Whether the engine makes text. Embeddings have no output tokens.
    pub(crate) fn generates(&self) -> bool {
        matches!(self.route().operation, Operation::Chat | Operation::Completion)
    }

    pub(crate) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// Whether usage must be forced into the stream, and hidden from the caller again. Only OpenAI's dialect leaves it
    /// out of a stream unless asked.
    pub(crate) fn hides_usage(&self) -> bool {
        self.stream && self.generates() && self.route().dialect == Dialect::OpenAi && !self.wants_usage
    }

    /// The body for an engine: every byte as it came, but for the model's other name, the cap, and what makes the
    /// engine report usage.
    pub(crate) fn body_for(
        &self,
        kind: UpstreamKind,
        engine_model: Option<&ModelName>,
        output_cap: Option<u64>,
    ) -> Bytes {
        let mut edits = Edits::default();
        if let (Some(place), Some(engine_model)) = (&self.places.model, engine_model)
            && self.model.as_ref() != Some(engine_model)
        {
            edits.replace(place.clone(), json_string(engine_model.as_str()));
        }
        if let Some((member, value)) = &self.places.prompt_for_messages
            && let Some(prompt) = self.body.get(value.clone())
        {
            let mut messages = br#""messages":[{"role":"user","content":"#.to_vec();
            messages.extend_from_slice(prompt);
            messages.extend_from_slice(b"}]");
            edits.replace(member.clone(), messages);
        }
        if let Some(cap) = output_cap {
            self.write_cap(&mut edits, kind, cap);
        }
        if self.hides_usage() {
            self.force_usage(&mut edits);
        }
        edits.apply(self.body.clone())
    }

    /// Into the field that the engine obeys: Ollama ignores `max_completion_tokens`.
    fn write_cap(&self, edits: &mut Edits, kind: UpstreamKind, cap: u64) {
        let number = cap.to_string();
        let places = &self.places;
        if self.route().dialect == Dialect::Ollama {
            match (&places.num_predict, places.options, places.body) {
                (Some(value), _, _) => edits.replace(value.clone(), number),
                (None, Some(options), _) => edits.insert_member(options, "num_predict", &number),
                (None, None, Some(body)) => {
                    edits.insert_member(body, "options", &format!("{{\"num_predict\":{number}}}"));
                }
                (None, None, None) => {}
            }
            return;
        }
        if let Some(value) = &places.max_completion_tokens {
            edits.replace(value.clone(), number.clone());
        }
        let is_told = places.max_completion_tokens.is_some() && kind != UpstreamKind::Ollama;
        match (&places.max_tokens, places.body) {
            (Some(value), _) => edits.replace(value.clone(), number),
            (None, Some(body)) if !is_told => edits.insert_member(body, "max_tokens", &number),
            (None, _) => {}
        }
    }

    fn force_usage(&self, edits: &mut Edits) {
        let places = &self.places;
        match (&places.include_usage, places.stream_options, places.body) {
            (Some(value), _, _) => edits.replace(value.clone(), "true"),
            (None, Some(options), _) => edits.insert_member(options, "include_usage", "true"),
            (None, None, Some(body)) => {
                edits.insert_member(body, "stream_options", "{\"include_usage\":true}");
            }
            (None, None, None) => {}
        }
    }
}

/// A request that needs no body: whatever came with it is left behind.
pub(crate) fn read_without_body(classified: Classified) -> Result<Ask, AskFault> {
    let model = match &classified.model_in_path {
        Some(name) => Some(model_name(name)?),
        None => None,
    };
    Ok(Ask {
        classified,
        model,
        stream: false,
        input_estimate: 0,
        output_asked: None,
        choices: 1,
        wants_usage: false,
        body: Bytes::new(),
        places: Places::default(),
        _room: None,
    })
}

pub(crate) fn read(classified: Classified, body: Bytes, room: Room) -> Result<Ask, AskFault> {
    let top = TopLevel::parse(&body, READ).map_err(AskFault::Json)?;
    let route = classified.route;
    let options = nested(&top, "options", READ_OF_OPTIONS)?;
    let stream_options = nested(&top, "stream_options", READ_OF_STREAM_OPTIONS)?;
    let get = |name| top.get(name).filter(|member| !member.is_null());

    // Ollama's `show` still takes the older `name`.
    let model = get("model").or_else(|| get("name").filter(|_| route.operation == Operation::Show));
    let name = match model {
        Some(member) => {
            member.string().ok_or(AskFault::Field { name: "model", problem: "must be a string" })?
        }
        None => return Err(AskFault::NoModel),
    };
    let stream = match get("stream") {
        None => route.streams_by_default,
        Some(member) => {
            member.boolean().ok_or(AskFault::Field { name: "stream", problem: "must be true or false" })?
        }
    };
    let include_usage = stream_options.as_ref().and_then(|options| options.get("include_usage"));
    let num_predict = options.as_ref().and_then(|options| options.get("num_predict"));
    let max_tokens = get("max_tokens");
    let max_completion_tokens = get("max_completion_tokens");
    let output_asked = match route.dialect {
        Dialect::Ollama => positive_or_endless(num_predict, "options.num_predict")?,
        Dialect::OpenAi | Dialect::Anthropic => {
            let newer = count(max_completion_tokens, "max_completion_tokens")?;
            let older = count(max_tokens, "max_tokens")?;
            newer.or(older)
        }
    };
    let is_ollama_chat = route.dialect == Dialect::Ollama && route.operation == Operation::Chat;
    let prompt = get("prompt");
    let prompt_for_messages = match (prompt, get("messages")) {
        (Some(prompt), None) if is_ollama_chat => Some((prompt.member_range.clone(), prompt.range.clone())),
        _ => None,
    };
    let texts = ["prompt", "messages", "input", "system", "tools", "suffix"];
    let bytes: usize = texts.iter().filter_map(|name| top.get(name)).map(|member| member.raw.len()).sum();
    let range = |member: Option<&Member<'_>>| member.map(|member| member.range.clone());
    let places = Places {
        model: range(model),
        max_tokens: range(max_tokens),
        max_completion_tokens: range(max_completion_tokens),
        num_predict: range(num_predict),
        include_usage: range(include_usage),
        body: Some(top.tail()),
        options: options.as_ref().map(TopLevel::tail),
        stream_options: stream_options.as_ref().map(TopLevel::tail),
        prompt_for_messages,
    };
    let wants_usage = include_usage.and_then(Member::boolean).unwrap_or(false);
    let choices = choices(&top)?;
    Ok(Ask {
        model: Some(model_name(&name)?),
        stream: stream && matches!(route.operation, Operation::Chat | Operation::Completion),
        input_estimate: u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN),
        output_asked,
        choices,
        wants_usage,
        places,
        classified,
        body,
        _room: Some(room),
    })
}

fn nested<'a>(
    top: &TopLevel<'a>,
    name: &'static str,
    read: &[&'static str],
) -> Result<Option<TopLevel<'a>>, AskFault> {
    match top.get(name).filter(|member| !member.is_null()) {
        None => Ok(None),
        Some(member) => TopLevel::parse_nested(member, read).map(Some).map_err(|fault| match fault {
            JsonFault::NotAnObject => AskFault::Field { name, problem: "must be an object" },
            JsonFault::NotUtf8 { .. }
            | JsonFault::Invalid { .. }
            | JsonFault::DuplicateKey { .. }
            | JsonFault::CaseVariant { .. } => AskFault::Json(fault),
        }),
    }
}

fn model_name(text: &str) -> Result<ModelName, AskFault> {
    text.parse().map_err(|_| AskFault::Field {
        name: "model",
        problem: "must have 1 to 256 bytes, none of them white space or a control character",
    })
}

fn count(member: Option<&Member<'_>>, name: &'static str) -> Result<Option<u64>, AskFault> {
    let Some(member) = member else { return Ok(None) };
    match member.raw.parse::<u64>() {
        Ok(number) if number > 0 => Ok(Some(number)),
        Ok(_) | Err(_) => Err(AskFault::Field { name, problem: "must be a positive whole number" }),
    }
}

/// Ollama: nothing, zero and negative numbers all mean "as long as you like".
fn positive_or_endless(member: Option<&Member<'_>>, name: &'static str) -> Result<Option<u64>, AskFault> {
    match member.filter(|member| !member.is_null()) {
        None => Ok(None),
        Some(member) => match member.raw.parse::<i64>() {
            Ok(number) => Ok(u64::try_from(number).ok().filter(|&number| number > 0)),
            Err(_) => Err(AskFault::Field { name, problem: "must be a whole number" }),
        },
    }
}

fn choices(top: &TopLevel<'_>) -> Result<u64, AskFault> {
    let get = |name| top.get(name).filter(|member| !member.is_null());
    let n = count(get("n"), "n")?.unwrap_or(1);
    let best_of = count(get("best_of"), "best_of")?.unwrap_or(1);
    let choices = n.max(best_of);
    if choices > MAX_CHOICES {
        let name = if n > MAX_CHOICES { "n" } else { "best_of" };
        return Err(AskFault::Field { name, problem: "must be at most 128" });
    }
    Ok(choices)
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
