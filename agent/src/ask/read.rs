//! From a body to an [`Ask`]: the fields that policy needs, each with its place, and nothing else parsed.

use super::{
    body::{BodyFault, Room},
    estimate::tokens,
    request::Ask,
    rewrite::{Cap, CapField, Object, Places},
    route::{Classified, Route},
    upload::Upload,
};
use crate::json_edit::{BodyFault as JsonFault, Member, TopLevel};
use attach_proto::{
    id::ModelName,
    route::{Dialect, Metering, Operation},
};
use bytes::Bytes;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use std::fmt;

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
    "n_predict",
    "n",
    "best_of",
    "options",
    "stream_options",
    "prompt",
    "messages",
    "input",
    "images",
    "system",
    "tools",
    "suffix",
    "query",
    "documents",
    "text_1",
    "text_2",
];

/// Those of them that make up a prompt.
const TEXTS: &[&str] = &[
    "prompt",
    "messages",
    "input",
    "images",
    "system",
    "tools",
    "suffix",
    "query",
    "documents",
    "text_1",
    "text_2",
];

const READ_OF_OPTIONS: &[&str] = &["num_predict"];
const READ_OF_STREAM_OPTIONS: &[&str] = &["include_usage"];

/// What is wrong with the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AskFault {
    Json(JsonFault),
    NoModel,
    Field {
        name: &'static str,
        problem: &'static str,
    },
    /// The engine would call a host that it may not.
    Registry,
}

impl fmt::Display for AskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => write!(f, "{fault}"),
            Self::NoModel => f.write_str("model is required"),
            Self::Field { name, problem } => write!(f, "{name}: {problem}"),
            Self::Registry => f.write_str(
                "model: names a registry that this gateway's engines may not call; the operator allows it by \
                 `routes.registries`",
            ),
        }
    }
}

/// A request that needs no body: whatever came with it is left behind.
pub(crate) fn read_without_body(classified: Classified) -> Result<Ask, AskFault> {
    let model = match &classified.model_in_path {
        Some(name) => Some(model_name(name)?),
        None => None,
    };
    Ok(Ask { model, ..Ask::passing(classified, Bytes::new(), None) })
}

/// A body that goes on as it is, whatever it is.
pub(crate) fn read_as_it_is(classified: Classified, body: Bytes, room: Room) -> Ask {
    Ask::passing(classified, body, Some(room))
}

/// A body that goes on as it comes.
pub(crate) fn read_upload(classified: Classified, body: Incoming) -> Result<Ask, BodyFault> {
    let upload = Upload::new(body)?;
    Ok(Ask { upload: Some(upload), ..Ask::passing(classified, Bytes::new(), None) })
}

pub(crate) fn read(classified: Classified, body: Bytes, room: Room) -> Result<Ask, AskFault> {
    let top = TopLevel::parse(&body, READ).map_err(AskFault::Json)?;
    let route = classified.route;
    let options = nested(&top, "options", READ_OF_OPTIONS)?;
    let stream_options = nested(&top, "stream_options", READ_OF_STREAM_OPTIONS)?;
    let get = |name| top.get(name).filter(|member| !member.is_null());

    // Ollama's `show` still takes the older `name`, and its own command sends an empty `model` with it.
    let is_show = route.operation == Operation::Show;
    let is_left_empty = |member: &&Member<'_>| is_show && member.string().is_some_and(|text| text.is_empty());
    let model =
        get("model").filter(|member| !is_left_empty(member)).or_else(|| get("name").filter(|_| is_show));
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
    if route.operation == Operation::Opened && stream {
        let problem = "is not let through on this route: its answer is counted in one piece";
        return Err(AskFault::Field { name: "stream", problem });
    }
    let include_usage = stream_options.as_ref().and_then(|options| options.get("include_usage"));
    let num_predict = options.as_ref().and_then(|options| options.get("num_predict"));
    let caps = caps(&top, &route, num_predict)?;
    let is_ollama_chat = route.dialect == Dialect::Ollama && route.operation == Operation::Chat;
    let prompt = get("prompt");
    let prompt_for_messages = match (prompt, top.get("messages")) {
        (Some(prompt), None) if is_ollama_chat => Some((prompt.member_range.clone(), prompt.range.clone())),
        _ => None,
    };
    let estimate = |name: &&str| top.get(name).map(|member| tokens(name, member.raw));
    let input_estimate = match route.metering {
        Metering::Usage => TEXTS.iter().filter_map(estimate).sum(),
        Metering::None | Metering::Requests => 0,
    };
    let object = |name: &str, nested: Option<&TopLevel<'_>>| match (nested, top.get(name)) {
        (Some(nested), _) => Some(Object::Here(nested.tail())),
        (None, Some(null)) => Some(Object::Null(null.range.clone())),
        (None, None) => None,
    };
    let places = Places {
        model: model.map(|member| member.range.clone()),
        include_usage: include_usage.map(|member| member.range.clone()),
        body: Some(top.tail()),
        options: object("options", options.as_ref()),
        stream_options: object("stream_options", stream_options.as_ref()),
        prompt_for_messages,
        caps,
    };
    let wants_usage = include_usage.and_then(Member::boolean).unwrap_or(false);
    let choices = choices(&top)?.saturating_mul(prompts(get("prompt")));
    Ok(Ask {
        model: Some(model_name(&name)?),
        other_model: None,
        stream: stream && matches!(route.operation, Operation::Chat | Operation::Completion),
        input_estimate,
        // Which of them an engine obeys differs, so the largest counts.
        output_asked: places.caps.iter().map(|cap| cap.asked).max().flatten(),
        choices,
        wants_usage,
        places,
        classified,
        body,
        room: Some(room),
        upload: None,
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

pub(super) fn model_name(text: &str) -> Result<ModelName, AskFault> {
    text.parse().map_err(|_| AskFault::Field {
        name: "model",
        problem: "must have 1 to 256 bytes, none of them white space or a control character",
    })
}

/// The fields that bound the output, as far as this route's engines know them.
fn caps(top: &TopLevel<'_>, route: &Route, num_predict: Option<&Member<'_>>) -> Result<Vec<Cap>, AskFault> {
    if route.dialect == Dialect::Ollama {
        let asked = positive_or_endless(num_predict, "options.num_predict")?;
        let cap =
            |member: &Member<'_>| Cap { field: CapField::NumPredict, range: member.range.clone(), asked };
        return Ok(num_predict.map(cap).into_iter().collect());
    }
    let is_openai_chat = route.dialect == Dialect::OpenAi && route.operation == Operation::Chat;
    let known = [
        (CapField::MaxTokens, "max_tokens", true),
        // llama.cpp takes its own name for it before the others.
        (CapField::NPredict, "n_predict", true),
        (CapField::MaxCompletionTokens, "max_completion_tokens", is_openai_chat),
    ];
    let mut caps = Vec::new();
    for (field, name, _) in known.into_iter().filter(|(_, _, is_known)| *is_known) {
        let Some(member) = top.get(name) else { continue };
        let asked = match field {
            CapField::NPredict | CapField::NumPredict => positive_or_endless(Some(member), name)?,
            CapField::MaxTokens | CapField::MaxCompletionTokens => {
                count(Some(member).filter(|member| !member.is_null()), name)?
            }
        };
        caps.push(Cap { field, range: member.range.clone(), asked });
    }
    Ok(caps)
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

/// A completion may be asked for many prompts at once, and has an answer to each.
fn prompts(prompt: Option<&Member<'_>>) -> u64 {
    let Some(prompt) = prompt.filter(|prompt| prompt.raw.starts_with('[')) else { return 1 };
    let several: Vec<&RawValue> = serde_json::from_str(prompt.raw).unwrap_or_default();
    // A list of numbers is one prompt, in tokens.
    let is_list = several.first().is_some_and(|first| first.get().starts_with(['"', '[']));
    if is_list { u64::try_from(several.len()).unwrap_or(u64::MAX) } else { 1 }
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
