//! What an event says, once it is whole.

use super::{ANTHROPIC_ALWAYS, Event, Field, OPENAI_ALWAYS, SEEN_CHOICES, Sse};
use crate::meter::{members::Members, scan::hold::Cut, tails::Identity};
use bytes::Bytes;

impl Sse {
    /// The JSON of an event is whole.
    pub(super) fn end_value(&mut self, end: usize, frame: &Bytes, release: &mut Vec<Bytes>) {
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

    /// The end of an event; `end` is behind its line feed.
    pub(super) fn blank_line(&mut self, end: usize, frame: &Bytes, release: &mut Vec<Bytes>) {
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

    pub(super) fn end_event(&mut self) {
        self.event = Event::default();
        self.members.reset();
    }

    pub(super) fn is_shown(&self) -> bool {
        if self.members.is_foreign() {
            return true;
        }
        let choices = self.members.first_bytes("choices");
        let items = choices.strip_prefix(b"[").unwrap_or(choices).trim_ascii_start();
        !choices.is_empty() && (choices.first() != Some(&b'[') || !matches!(items.first(), None | Some(b']')))
    }

    pub(super) fn show_event(&mut self) {
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
