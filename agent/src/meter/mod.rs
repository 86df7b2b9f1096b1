//! What a request consumed, read from the answer as it passes: [`Answer`] → the answer for the caller.
//!
//! A stream goes through [`MeteredBody`], which holds back nothing but its end. An answer in one piece is collected
//! first when it is small, so that its counts stand in its headers and a broken one can still become an error.

mod collect;
mod counts;
mod members;
mod place;
mod scan;
mod silence;
mod stream;
mod strings;
mod tails;
#[cfg(test)]
mod tests;

pub(crate) use collect::{Collected, collect};
pub(crate) use counts::Reading;
pub(crate) use scan::{End, Scanner, Wire};
pub(crate) use stream::{Interrupted, MeteredBody};
pub(crate) use tails::LengthEnd;

use crate::{
    ask::{Dialect, Metering, Operation},
    forward::Answer,
};
use http::{HeaderValue, header::CONTENT_TYPE};

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

/// Whether the answer comes bit by bit, so that whoever waits for it reads along.
fn is_stream(answer: &Answer) -> bool {
    is_of_type(answer, EVENTS) || is_of_type(answer, LINES)
}

fn is_of_type(answer: &Answer, wanted: &str) -> bool {
    let value = answer.head.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    value.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// How the bytes of this answer are to be read; `None` for what carries no usage.
fn wire_of(answer: &Answer) -> Option<Wire> {
    let route = answer.ticket.ask().route();
    if route.metering != Metering::Usage {
        return None;
    }
    let (is_sse, is_lines) = (is_of_type(answer, EVENTS), is_of_type(answer, LINES));
    Some(match (route.dialect, route.operation) {
        (Dialect::OpenAi, Operation::Chat) if is_sse => Wire::OpenAiChat,
        (Dialect::OpenAi, Operation::Completion) if is_sse => Wire::OpenAiText,
        (Dialect::Anthropic, _) if is_sse => Wire::Anthropic,
        (Dialect::Ollama, Operation::Chat) if is_lines => Wire::OllamaChat,
        (Dialect::Ollama, Operation::Completion) if is_lines => Wire::OllamaGenerate,
        (dialect, _) => Wire::Json(dialect),
    })
}
