//! Strings, numbers and words, whichever pieces they come in.

use super::{Content, Mark, Members, Spot};
use crate::meter::{
    place::{At, Escape, is_high_surrogate},
    strings::{is_content_key, string_stop},
};
use memchr::{memchr2, memchr3, memrchr};

impl Members {
    /// At a quote. Returns the offset of the first byte that was not read, as all these do.
    pub(super) fn open_string(&mut self, piece: &[u8], offset: usize) -> usize {
        if self.place.at != At::Name || !self.place.in_object() {
            self.place.at = At::Text;
            return self.string(piece, offset + 1);
        }
        if self.place.depth == 1 && self.mark_key.is_some() && !matches!(self.mark, Mark::Set(_)) {
            self.mark = Mark::Maybe(Spot { offset: Some(offset), place: self.place, seen: self.seen });
        }
        self.place.at = At::Key;
        self.key_length = 0;
        self.string(piece, offset + 1)
    }

    /// Reads within a string.
    pub(super) fn string(&mut self, piece: &[u8], from: usize) -> usize {
        let rest = piece.get(from..).unwrap_or_default();
        match self.place.escape {
            Escape::None => {}
            Escape::Backslash => {
                let unicode = rest.first() == Some(&b'u');
                self.place.escape = if unicode { Escape::Hex { left: 4, unit: 0 } } else { Escape::None };
                self.place.high &= unicode;
                self.take_text(rest.get(..1).unwrap_or_default());
                return from + 1;
            }
            Escape::Hex { left, unit } => {
                let digit = rest.first().and_then(|byte| char::from(*byte).to_digit(16)).unwrap_or(0);
                let unit = unit << 4 | u16::try_from(digit).unwrap_or(0);
                if left > 1 {
                    self.place.escape = Escape::Hex { left: left - 1, unit };
                } else {
                    self.place.escape = Escape::None;
                    self.place.high = !self.place.high && is_high_surrogate(unit);
                }
                return from + 1;
            }
        }
        let stop = string_stop(rest);
        if self.place.at == At::Key
            && self.key_length == 0
            && let Some((key, [b'"', ..])) = stop.and_then(|stop| rest.split_at_checked(stop))
        {
            self.close_key(key);
            let next = from + key.len() + 1;
            if piece.get(next) != Some(&b':') {
                return next;
            }
            self.open_value(next + 1);
            return next + 1;
        }
        let run = rest.get(..stop.unwrap_or(rest.len())).unwrap_or_default();
        if !run.is_empty() {
            self.place.high = false;
            self.take_text(run);
        }
        let Some(stop) = stop else { return piece.len() };
        if rest.get(stop) == Some(&b'\\') {
            self.take_text(b"\\");
            self.place.escape = Escape::Backslash;
        } else {
            self.close_string();
        }
        from + stop + 1
    }

    fn take_text(&mut self, text: &[u8]) {
        if self.place.at == At::Key {
            let end = self.key_length.saturating_add(text.len());
            if let Some(room) = self.key.get_mut(self.key_length..end) {
                room.copy_from_slice(text);
            }
            self.key_length = end;
            return;
        }
        if self.content == Content::Next {
            self.content = Content::Inside;
            self.contents += 1;
        }
        if self.content == Content::Inside {
            self.content_bytes = self.content_bytes.saturating_add(text.len() as u64);
        }
    }

    fn close_string(&mut self) {
        self.place.high = false;
        if self.place.at == At::Key {
            let key = self.key;
            return self.close_key(key.get(..self.key_length).unwrap_or_default());
        }
        self.content = Content::No;
        self.place.at = At::After;
    }

    fn close_key(&mut self, key: &[u8]) {
        self.place.at = At::Colon;
        if is_content_key(key) {
            self.content = Content::Next;
        }
        if self.place.depth != 1 {
            return;
        }
        self.matched = self.wanted.iter().take(self.active).position(|wanted| wanted.key.as_bytes() == key);
        if matches!(self.mark, Mark::Maybe(_)) && self.mark_key.map(str::as_bytes) != Some(key) {
            self.mark = Mark::None;
        }
    }

    /// Reads a number or a word, and returns the offset of the byte that ended it.
    pub(super) fn scalar(&mut self, piece: &[u8], from: usize) -> usize {
        let rest = piece.get(from..).unwrap_or_default();
        if self.place.depth > 1 && !self.place.in_object() && self.place.length > 0 {
            return from + self.numbers(rest);
        }
        let ends = |byte: &u8| {
            matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'{' | b'[')
        };
        let end = rest.iter().position(ends);
        self.note_scalar(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
        let Some(end) = end else { return piece.len() };
        // The second number of an array begins a run of them: an embedding has thousands.
        let run = rest.get(end) == Some(&b',') && self.place.depth > 1 && !self.place.in_object();
        if !run {
            self.place.at = At::After;
        }
        from + end
    }

    /// Passes over the items of an array of numbers, up to its end or to an item that is none.
    fn numbers(&mut self, rest: &[u8]) -> usize {
        let close = memchr2(b']', b'}', rest).unwrap_or(rest.len());
        let run = rest.get(..close).unwrap_or_default();
        let stop = memchr3(b'"', b'[', b'{', run).unwrap_or(close);
        let run = rest.get(..stop).unwrap_or_default();
        let item = match memrchr(b',', run) {
            Some(comma) => {
                self.place.length = 0;
                run.get(comma + 1..).unwrap_or_default()
            }
            None => run,
        };
        let blank = item.trim_ascii().is_empty();
        self.note_scalar(item.trim_ascii());
        self.place.fresh = false;
        self.place.at = match (rest.get(stop), self.place.length) {
            (Some(b']' | b'}'), _) => At::After,
            (Some(_), _) | (None, 0) => At::Value,
            (None, _) if item.last().is_some_and(u8::is_ascii_whitespace) || blank && !item.is_empty() => {
                At::After
            }
            (None, _) => At::Scalar,
        };
        stop
    }

    fn note_scalar(&mut self, text: &[u8]) {
        if self.place.length == 0 {
            self.place.first = text.first().copied().unwrap_or(0);
        }
        self.place.last = text.last().copied().unwrap_or(self.place.last);
        self.place.length = self.place.length.saturating_add(u8::try_from(text.len()).unwrap_or(u8::MAX));
    }
}
