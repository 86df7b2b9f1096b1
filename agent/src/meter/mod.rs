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
    ask::{Dialect, Operation},
    forward::Answer,
};
use http::header::CONTENT_TYPE;

/// How the bytes of this answer are to be read; `None` for what carries no usage.
fn wire_of(answer: &Answer) -> Option<Wire> {
    let route = answer.ticket.ask().route();
    if !route.operation.is_metered() {
        return None;
    }
    let content_type = answer.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    let is_sse = content_type.starts_with("text/event-stream");
    let is_lines = content_type.starts_with("application/x-ndjson");
    Some(match (route.dialect, route.operation) {
        (Dialect::OpenAi, Operation::Chat) if is_sse => Wire::OpenAiChat,
        (Dialect::OpenAi, Operation::Completion) if is_sse => Wire::OpenAiText,
        (Dialect::Anthropic, _) if is_sse => Wire::Anthropic,
        (Dialect::Ollama, Operation::Chat) if is_lines => Wire::OllamaChat,
        (Dialect::Ollama, Operation::Completion) if is_lines => Wire::OllamaGenerate,
        (dialect, _) => Wire::Json(dialect),
    })
}
