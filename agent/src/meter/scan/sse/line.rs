//! Lines and their fields, whichever frames they come in.

use super::{Field, Line, Sse};
use crate::meter::scan::hold::Cut;
use bytes::Bytes;
use memchr::memchr;

impl Sse {
    /// Reads what it can of a line's beginning, and returns the offset to go on from, as all these do.
    pub(super) fn begin_line(&mut self, frame: &Bytes, at: usize, release: &mut Vec<Bytes>) -> usize {
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

    pub(super) fn read_name(&mut self, frame: &Bytes, at: usize, release: &mut Vec<Bytes>) -> usize {
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

    pub(super) fn read_value(&mut self, frame: &Bytes, at: usize, release: &mut Vec<Bytes>) -> usize {
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
    pub(super) fn hold_from(&mut self, at: usize, cut: Cut) {
        if self.hold.is_active() {
            return;
        }
        match self.line_from {
            Some(from) => self.hold.begin(from, Cut::line_start(self.event.data)),
            None => self.hold.begin(at, cut),
        }
    }

    fn end_line(&mut self) {
        self.event.data |= self.field == Field::Data && self.line != Line::Name;
        self.line = Line::Start;
    }
}
