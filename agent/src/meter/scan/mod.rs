//! Reads an answer's usage as its frames pass, and keeps its end back until the usage is durable.

mod hold;
mod lines;
mod sse;
mod whole;

use super::{
    counts::Reading,
    tails::{self, LengthEnd},
};
use crate::ask::Dialect;
use bytes::Bytes;
use lines::Lines;
use sse::Sse;
use whole::Whole;

#[cfg(test)]
pub(super) use hold::MAX_HELD_BYTES;
pub(super) use hold::{Cut, LineAt};
pub(super) use lines::{SEEN_DONE, SEEN_MESSAGE, SEEN_RESPONSE};
pub(super) use sse::SEEN_CHOICES;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Server-sent events of `/v1/chat/completions`; the end is `data: [DONE]`.
    OpenAiChat,
    /// Server-sent events of `/v1/completions`.
    OpenAiText,
    /// Server-sent events of `/v1/messages`; the end is `message_stop`.
    Anthropic,
    /// Lines of `/api/chat`; the end is the line with `"done":true`.
    OllamaChat,
    /// Lines of `/api/generate`.
    OllamaGenerate,
    /// One JSON value; the end is its last bracket.
    Json(Dialect),
}

/// How an engine's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With its end marker.
    Complete,
    /// The engine said that it failed.
    EngineError,
    /// Without its end marker. A runner of Ollama that crashed ends so, cleanly for HTTP.
    Broken,
}

/// Reads one answer. The bytes that it gives back are those that it was given, in their order, except the usage event
/// that was asked for in the client's stead.
#[derive(Debug)]
pub(crate) struct Scanner {
    wire: Wire,
    body: Body,
    taken: bool,
}

/// Boxed, as the body type that holds it is moved about.
#[derive(Debug)]
enum Body {
    Sse(Box<Sse>),
    Lines(Box<Lines>),
    Whole(Box<Whole>),
}

impl Scanner {
    /// `hide_usage`: the gateway asked for the usage event of an OpenAI stream and the client did not.
    pub(crate) fn new(wire: Wire, hide_usage: bool) -> Self {
        let body = match wire {
            Wire::OpenAiChat | Wire::OpenAiText => Body::Sse(Box::new(Sse::openai(hide_usage))),
            Wire::Anthropic => Body::Sse(Box::new(Sse::anthropic())),
            Wire::OllamaChat | Wire::OllamaGenerate => Body::Lines(Box::new(Lines::new())),
            Wire::Json(_) => Body::Whole(Box::new(Whole::new())),
        };
        Self { wire, body, taken: false }
    }

    /// Reads a frame, appends to `release` what may go on now, and keeps the rest.
    pub(crate) fn feed(&mut self, frame: Bytes, release: &mut Vec<Bytes>) {
        if self.taken {
            release.push(frame);
            return;
        }
        match &mut self.body {
            Body::Sse(sse) => sse.feed(frame, release),
            Body::Lines(lines) => lines.feed(frame, release),
            Body::Whole(whole) => whole.feed(frame, release),
        }
    }

    /// The engine's body is at its end. What is held by then and is no end marker goes out only where the engine itself
    /// told of the failure; else [`error_tail`](Self::error_tail) goes on where the released bytes stop.
    pub(crate) fn end_of_body(&mut self, release: &mut Vec<Bytes>) -> End {
        if !self.marker_held() && !self.taken {
            if !self.reading().engine_error {
                return End::Broken;
            }
            release.append(&mut self.take_held());
        }
        if self.reading().engine_error { End::EngineError } else { End::Complete }
    }

    /// True when the end marker is complete and waits for [`take_held`](Self::take_held).
    pub(crate) fn marker_held(&self) -> bool {
        !self.taken
            && match &self.body {
                Body::Sse(sse) => sse.is_marked(),
                Body::Lines(lines) => lines.is_marked(),
                Body::Whole(whole) => whole.is_marked(),
            }
    }

    /// What was held. To be called when the usage event is durable; all that comes later passes at once.
    pub(crate) fn take_held(&mut self) -> Vec<Bytes> {
        self.taken = true;
        match &mut self.body {
            Body::Sse(sse) => sse.take_held(),
            Body::Lines(lines) => lines.take_held(),
            Body::Whole(whole) => whole.take_held(),
        }
    }

    /// Whether the answer is a stream of events.
    pub(crate) fn has_events(&self) -> bool {
        matches!(self.body, Body::Sse(_))
    }

    /// Whether what the client has ends with a whole event, or is nothing yet.
    pub(crate) fn is_between_events(&self) -> bool {
        const NOTHING_SENT: &[u8] = &[0; 3];
        let Body::Sse(sse) = &self.body else { return false };
        let ends = [b"\n\n".as_slice(), b"\n\r\n", b"\r\r"];
        !self.taken && (sse.sent() == NOTHING_SENT || ends.iter().any(|end| sse.sent().ends_with(end)))
    }

    pub(crate) fn reading(&self) -> Reading {
        match &self.body {
            Body::Sse(sse) => sse.reading(),
            Body::Lines(lines) => lines.reading(),
            Body::Whole(whole) => whole.reading(),
        }
    }

    /// What ends the answer as failed, well-formed behind the bytes released up to now; empty when the answer has
    /// already ended. `code` is a word for programs.
    ///
    /// A cut line is closed and carries the error itself, so that a client fails on the error and not on its half. A
    /// body with a `Content-Length` cannot take it: there the connection has to break.
    pub(crate) fn error_tail(&self, message: &str, code: &str) -> Bytes {
        if self.taken {
            return Bytes::new();
        }
        match &self.body {
            Body::Sse(sse) => tails::sse_error(self.wire, &sse.cut(), sse.sent(), message, code),
            Body::Lines(lines) => tails::lines_error(&lines.cut(), lines.sent(), message),
            Body::Whole(whole) => tails::whole_error(self.wire, &whole.cut(), whole.sent(), message, code),
        }
    }

    /// What ends the answer as the engine's own length stop would, well-formed behind the bytes released up to now;
    /// empty when it has already ended, and for a whole body, which has no such end.
    pub(crate) fn length_tail(&self, end: &LengthEnd<'_>) -> Bytes {
        if self.taken {
            return Bytes::new();
        }
        match &self.body {
            Body::Sse(sse) if self.wire == Wire::Anthropic => {
                tails::anthropic_length(&sse.cut(), sse.sent(), sse.opened(), end)
            }
            Body::Sse(sse) => tails::openai_length(self.wire, &sse.cut(), sse.sent(), sse.identity(), end),
            Body::Lines(lines) => tails::lines_length(self.wire, &lines.cut(), lines.sent(), end),
            Body::Whole(_) => Bytes::new(),
        }
    }
}
