//! An answer of server-sent events (HTML Living Standard, 9.2): OpenAI and Anthropic.

use super::hold::{Cut, Hold, LineAt};
use crate::meter::{
    counts::{Counts, Reading, USAGE_LIMIT},
    members::{Members, Wanted},
    tails::{Identity, Opened},
};
use bytes::Bytes;
use memchr::memchr;

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
pub(in super::super) const SEEN_CHOICES: u16 = 1;

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

    /// Reads what it can of a line's beginning, and returns the offset to go on from, as all these do.
    fn begin_line(&mut self, frame: &Bytes, at: usize, release: &mut Vec<Bytes>) -> usize {
        let rest = frame.get(at..).unwrap_or_default();
        if self.event.dropping && !matches!(rest, [b'\n' | b'\r', ..]) {
            // The blank line behind the hidden event is missing, and this is no part of it.
            self.hold.drop_to(at, frame, release);
            self.end_event();
        }
        self.line_from = Some(at);
        // Behind a whole value the blank line may be missing, and this be another event.
        let undecided = !self.event.shown || self.members.ended();
        if self.hide_usage && undecided && !self.event.dropping && !self.hold.is_active() {
            self.hold.begin(at, Cut::line_start(self.event.data));
        }
        self.name_length = 0;
        self.line = Line::Name;
        if rest.starts_with(b"data:") {
            self.begin_field(Field::Data);
            return at + b"data:".len();
        }
        at
    }

    fn read_name(&mut self, frame: &Bytes, at: usize, release: &mut Vec<Bytes>) -> usize {
        match frame.get(at) {
            Some(b'\n') if self.name_length == 0 => {
                self.blank_line(at + 1, frame, release);
                self.line = Line::Start;
            }
            Some(b'\n') => self.end_line(),
            Some(b':') => {
                let name = self.name.get(..self.name_length).unwrap_or(b"-");
                let field = match name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) {
                    b"data" => Field::Data,
                    b"event" => Field::Event,
                    b"error" => Field::Error,
                    _ => Field::Other,
                };
                // A comment belongs to no event.
                if name.is_empty() && !self.event.data && !self.event.dropping {
                    self.hold.cancel();
                }
                self.begin_field(field);
            }
            Some(b'\r') if self.name_length == 0 => {}
            Some(byte) => {
                if let Some(room) = self.name.get_mut(self.name_length) {
                    *room = *byte;
                }
                self.name_length += 1;
            }
            None => {}
        }
        at + 1
    }

    fn begin_field(&mut self, field: Field) {
        self.field = field;
        self.line = Line::Gap;
        match field {
            Field::Data if self.members.ended() => {
                // Another value in the same event: some servers leave the blank line out.
                self.end_event();
            }
            // The lines of one value are joined by a line feed.
            Field::Data if self.event.data => {
                self.members.feed(b"\n");
            }
            Field::Event => self.event.name_length = 0,
            Field::Error => self.counts.engine_error = true,
            Field::Data | Field::Other => {}
        }
    }

    fn read_value(&mut self, frame: &Bytes, at: usize, release: &mut Vec<Bytes>) -> usize {
        let rest = frame.get(at..).unwrap_or_default();
        if let Some(matched) = self.marker.matched {
            let wanted = self.marker.text.get(matched..).unwrap_or_default();
            let common = wanted.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common == wanted.len() {
                self.marker.matched = None;
                self.found_marker(at);
                return at + common;
            }
            if common == rest.len() {
                self.marker.matched = Some(matched + common);
                if matched == 0 && !self.hold.is_active() {
                    self.hold.begin(at, self.live_cut());
                }
                return at + common;
            }
            self.marker.matched = None;
            if !self.hide_usage && matched > 0 {
                self.hold.cancel();
            }
            // What was taken for the marker is the beginning of something else.
            let text = self.marker.text.get(..matched).unwrap_or_default();
            self.take_value(text, 0, frame, release);
        }
        let newline = memchr(b'\n', rest);
        let value = rest.get(..newline.unwrap_or(rest.len())).unwrap_or_default();
        self.take_value(value, at, frame, release);
        if newline.is_none() {
            return frame.len();
        }
        if !self.marked {
            self.end_line();
        }
        at + value.len() + 1
    }

    fn take_value(&mut self, value: &[u8], at: usize, frame: &Bytes, release: &mut Vec<Bytes>) {
        match self.field {
            Field::Data if !self.event.dropping => {
                if let Some(end) = self.members.feed(value) {
                    self.end_value(at + end, frame, release);
                } else if self.hide_usage && !self.event.shown && self.is_shown() {
                    self.show_event();
                }
            }
            Field::Event => {
                for byte in value.trim_ascii_end() {
                    if let Some(room) = self.event.name.get_mut(self.event.name_length) {
                        *room = *byte;
                        self.event.name_length += 1;
                    }
                }
            }
            Field::Data | Field::Error | Field::Other => {}
        }
    }

    /// The marker's last byte has come in this frame, its first at `at` or in an earlier one.
    fn found_marker(&mut self, at: usize) {
        if self.field == Field::Data {
            self.marked = true;
        } else {
            self.event.stop = true;
        }
        self.hold_from(at, self.live_cut());
    }

    /// Begins a hold for the end: at the line's first byte when nothing of it has gone out, else at `at`.
    fn hold_from(&mut self, at: usize, cut: Cut) {
        if self.hold.is_active() {
            return;
        }
        match self.line_from {
            Some(from) => self.hold.begin(from, Cut::line_start(self.event.data)),
            None => self.hold.begin(at, cut),
        }
    }

    /// The JSON of an event is whole.
    fn end_value(&mut self, end: usize, frame: &Bytes, release: &mut Vec<Bytes>) {
        self.counts.take_error(self.members.first_bytes("error"));
        if self.marker.field == Field::Event {
            self.end_anthropic(end);
            return;
        }
        let usage = self.members.get("usage").filter(|usage| *usage != b"null");
        if let Some(usage) = usage {
            self.counts.take_usage(usage, true);
        }
        let usage_only = usage.is_some() && is_empty_array(self.members.first_bytes("choices"));
        if self.identity.is_none() && self.members.seen() & SEEN_CHOICES != 0 {
            self.identity = Some(Identity::of(&self.members));
            self.members.narrow(OPENAI_ALWAYS);
        }
        if self.hide_usage && !self.event.shown {
            if usage_only {
                self.hold.drop_to(end, frame, release);
                self.event.dropping = true;
            } else {
                self.show_event();
            }
        }
    }

    fn end_anthropic(&mut self, end: usize) {
        let index = || std::str::from_utf8(self.members.get("index")?).ok()?.parse().ok();
        match self.members.get("type") {
            Some(br#""message_start""#) => {
                self.opened.message = true;
                self.message.reset();
                if let Some(message) = self.members.get("message") {
                    self.message.feed(message);
                }
                if let Some(usage) = self.message.get("usage") {
                    self.counts.take_usage(usage, false);
                }
                self.members.narrow(ANTHROPIC_ALWAYS);
            }
            Some(br#""content_block_start""#) => self.opened.block = index(),
            Some(br#""content_block_stop""#) => self.opened.block = None,
            Some(br#""message_delta""#) => {
                if let Some(usage) = self.members.get("usage") {
                    self.counts.take_usage(usage, true);
                }
            }
            Some(br#""error""#) => self.counts.engine_error = true,
            Some(br#""message_stop""#) => self.event.stop = true,
            _ => {}
        }
        if self.event.stop {
            self.marked = true;
            let cut = Cut { place: self.members.place_before_end(), ..self.live_cut() };
            self.hold_from(end.saturating_sub(1), cut);
        }
    }

    fn end_line(&mut self) {
        self.event.data |= self.field == Field::Data && self.line != Line::Name;
        self.line = Line::Start;
    }

    /// The end of an event; `end` is behind its line feed.
    fn blank_line(&mut self, end: usize, frame: &Bytes, release: &mut Vec<Bytes>) {
        if self.event.dropping {
            self.hold.drop_to(end, frame, release);
        } else if self.event.stop {
            self.marked = true;
            self.hold_from(end - 1, self.live_cut());
            return;
        } else {
            self.hold.cancel();
        }
        if self.event.name.get(..self.event.name_length) == Some(b"error") {
            self.counts.engine_error = true;
        }
        self.end_event();
    }

    fn end_event(&mut self) {
        self.event = Event::default();
        self.members.reset();
    }

    fn is_shown(&self) -> bool {
        if self.members.is_foreign() {
            return true;
        }
        let choices = self.members.first_bytes("choices");
        let items = choices.strip_prefix(b"[").unwrap_or(choices).trim_ascii_start();
        !choices.is_empty() && (choices.first() != Some(&b'[') || !matches!(items.first(), None | Some(b']')))
    }

    fn show_event(&mut self) {
        self.event.shown = true;
        self.hold.cancel();
    }
}

fn is_empty_array(raw: &[u8]) -> bool {
    raw.strip_prefix(b"[").is_some_and(|items| items.trim_ascii() == b"]")
}

impl Identity {
    fn of(members: &Members) -> Self {
        let raw = |key| members.get(key).and_then(|raw| std::str::from_utf8(raw).ok()).map(str::to_owned);
        Self {
            id: raw("id"),
            created: raw("created"),
            model: raw("model").filter(|model| model != "\"\""),
            system_fingerprint: raw("system_fingerprint"),
        }
    }
}
