//! An answer of server-sent events (HTML Living Standard, 9.2): OpenAI and Anthropic.

mod event;
mod line;

use super::hold::{Cut, Hold, LineAt};
use crate::meter::{
    counts::{Counts, Reading, USAGE_LIMIT},
    members::{Members, Wanted},
    tails::{Identity, Opened},
};
use bytes::Bytes;

/// The longest field name that means anything is `event`, behind a byte order mark.
const MAX_NAME_BYTES: usize = 8;

/// The longest event name that means anything is `error`; one byte more tells that it is another.
const MAX_EVENT_BYTES: usize = 6;

const OPENAI: &[Wanted] = &[
    Wanted { key: "choices", limit: 16 },
    Wanted { key: "usage", limit: USAGE_LIMIT },
    Wanted { key: "error", limit: 8 },
    // Asked for in the first event only.
    Wanted { key: "id", limit: 256 },
    Wanted { key: "created", limit: 24 },
    Wanted { key: "model", limit: 256 },
    Wanted { key: "system_fingerprint", limit: 256 },
];

/// Of `OPENAI`, what is asked for in each event.
const OPENAI_ALWAYS: usize = 3;

/// Bit of [`Cut::seen`], in the order of `OPENAI`.
pub(in crate::meter) const SEEN_CHOICES: u16 = 1;

const ANTHROPIC: &[Wanted] = &[
    Wanted { key: "type", limit: 32 },
    Wanted { key: "index", limit: 8 },
    Wanted { key: "usage", limit: USAGE_LIMIT },
    Wanted { key: "error", limit: 8 },
    // Asked for until `message_start` came.
    Wanted { key: "message", limit: USAGE_LIMIT },
];

const ANTHROPIC_ALWAYS: usize = 4;

/// Within `message` of `message_start`.
const MESSAGE: &[Wanted] = &[Wanted { key: "usage", limit: USAGE_LIMIT }];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    Name,
    /// Behind the colon, where one space is no part of the value.
    Gap,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    /// llama.cpp before 2025 wrote its errors as a field of this name.
    Error,
    Other,
}

/// The text whose appearance as the value of a field announces the end.
#[derive(Debug)]
struct Marker {
    field: Field,
    text: &'static [u8],
    /// Bytes of it that came, while the value is still nothing else.
    matched: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Sse {
    marker: Marker,
    hide_usage: bool,
    line: Line,
    field: Field,
    name: [u8; MAX_NAME_BYTES],
    name_length: usize,
    /// Where the line began, when that was in this frame.
    line_from: Option<usize>,
    event: Event,
    members: Members,
    message: Members,
    counts: Counts,
    hold: Hold,
    identity: Option<Identity>,
    opened: Opened,
    marked: bool,
}

/// The event that is being read.
#[derive(Debug, Default)]
struct Event {
    name: [u8; MAX_EVENT_BYTES],
    name_length: usize,
    /// A data line of it has ended.
    data: bool,
    /// Known to be none that is hidden.
    shown: bool,
    /// Being hidden, up to its blank line.
    dropping: bool,
    /// Its name is Anthropic's `message_stop`.
    stop: bool,
}

impl Sse {
    pub(super) fn openai(hide_usage: bool) -> Self {
        Self::new(Marker { field: Field::Data, text: b"[DONE]", matched: None }, OPENAI, hide_usage)
    }

    pub(super) fn anthropic() -> Self {
        Self::new(Marker { field: Field::Event, text: b"message_stop", matched: None }, ANTHROPIC, false)
    }

    fn new(marker: Marker, wanted: &'static [Wanted], hide_usage: bool) -> Self {
        Self {
            marker,
            hide_usage,
            line: Line::Start,
            field: Field::Other,
            name: [0; MAX_NAME_BYTES],
            name_length: 0,
            line_from: None,
            event: Event::default(),
            members: Members::new(wanted),
            message: Members::new(MESSAGE),
            counts: Counts::default(),
            hold: Hold::new(),
            identity: None,
            opened: Opened::default(),
            marked: false,
        }
    }

    pub(super) fn feed(&mut self, frame: Bytes, release: &mut Vec<Bytes>) {
        if self.marked {
            return self.hold.keep_behind_marker(frame);
        }
        self.line_from = None;
        let mut next = 0;
        while next < frame.len() && !self.marked {
            next = match self.line {
                Line::Start => self.begin_line(&frame, next, release),
                Line::Name => self.read_name(&frame, next, release),
                Line::Gap => {
                    self.line = Line::Value;
                    self.marker.matched = (self.field == self.marker.field).then_some(0);
                    next + usize::from(frame.get(next) == Some(&b' '))
                }
                Line::Value => self.read_value(&frame, next, release),
            };
        }
        if self.event.dropping {
            self.hold.drop_to(frame.len(), &frame, release);
        }
        // What is longer than may be held is not hidden.
        self.event.shown |= !self.hold.finish_frame(frame, !self.marked, release);
    }

    pub(super) fn is_marked(&self) -> bool {
        self.marked
    }

    pub(super) fn take_held(&mut self) -> Vec<Bytes> {
        self.hold.take()
    }

    pub(super) fn reading(&self) -> Reading {
        self.counts.of_stream(self.members.contents())
    }

    pub(super) fn sent(&self) -> &[u8] {
        self.hold.sent()
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(super) fn opened(&self) -> Opened {
        self.opened
    }

    pub(super) fn cut(&self) -> Cut {
        if self.event.dropping {
            return Cut::line_start(false);
        }
        self.hold.cut().unwrap_or_else(|| self.live_cut())
    }

    fn live_cut(&self) -> Cut {
        let line = match self.line {
            Line::Start => LineAt::Start,
            Line::Gap | Line::Value if self.field == Field::Data => LineAt::Json,
            Line::Name | Line::Gap | Line::Value => LineAt::Other,
        };
        Cut { line, data: self.event.data, place: self.members.place(), seen: self.members.seen() }
    }
}
