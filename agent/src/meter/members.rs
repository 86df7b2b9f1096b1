//! The top-level members of a JSON value, read as its bytes pass in pieces of any size. Nothing else of the value is
//! kept, so a line of 100 MB takes no more memory than one of 100 bytes.

use super::{
    place::{At, Escape, Place, is_high_surrogate},
    strings::{is_content_key, string_stop},
};
use memchr::{memchr2, memchr3, memrchr};

/// Longer keys are none that anybody asks for.
const MAX_KEY_BYTES: usize = 32;

/// A top-level member that the caller wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) key: &'static str,
    /// Bytes of the value to keep; a longer one is known by its first bytes only.
    pub(super) limit: usize,
}

/// Follows one JSON value. Lenient: what is no JSON gives no members, never an error.
#[derive(Debug)]
pub(super) struct Members {
    place: Place,
    wanted: &'static [Wanted],
    /// How many of `wanted`, from the first, are still of interest.
    active: usize,
    slots: Vec<Slot>,
    /// The slot whose value is being read, and where it goes on in this piece.
    open: Option<usize>,
    open_from: usize,
    key: [u8; MAX_KEY_BYTES],
    key_length: usize,
    /// The slot of the key that was just read.
    matched: Option<usize>,
    content: Content,
    contents: u64,
    content_bytes: u64,
    mark: Mark,
    mark_key: Option<&'static str>,
    seen: u16,
    before_end: Place,
}

#[derive(Debug, Default)]
struct Slot {
    raw: Vec<u8>,
    complete: bool,
    too_long: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    No,
    /// Its key was read.
    Next,
    Inside,
}

/// The watched key, from its first quote on.
#[derive(Debug, Clone, Copy)]
enum Mark {
    None,
    /// It, or another that begins alike, or its value, is being read.
    Maybe(Spot),
    /// Its value is `true`.
    Set(Spot),
}

/// The first byte of a top-level key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// Its offset in the piece fed last; None when it came in an earlier one.
    pub(super) offset: Option<usize>,
    pub(super) place: Place,
    pub(super) seen: u16,
}

impl Members {
    /// At most 16 members can be wanted.
    pub(super) fn new(wanted: &'static [Wanted]) -> Self {
        debug_assert!(wanted.len() <= 16, "`seen` has 16 bits");
        Self {
            place: Place::start(),
            wanted,
            active: wanted.len(),
            slots: wanted.iter().map(|_| Slot::default()).collect(),
            open: None,
            open_from: 0,
            key: [0; MAX_KEY_BYTES],
            key_length: 0,
            matched: None,
            content: Content::No,
            contents: 0,
            content_bytes: 0,
            mark: Mark::None,
            mark_key: None,
            seen: 0,
            before_end: Place::start(),
        }
    }

    /// Watches for a top-level member that decides how to go on once it is `true`.
    pub(super) fn watching(mut self, key: &'static str) -> Self {
        self.mark_key = Some(key);
        self
    }

    /// From now on only the first `count` wanted members are captured.
    pub(super) fn narrow(&mut self, count: usize) {
        self.active = count.min(self.wanted.len());
    }

    /// Gets ready for the next value. The sums of content go on.
    pub(super) fn reset(&mut self) {
        if self.place.is_before() {
            return;
        }
        self.place = Place::start();
        self.open = None;
        self.matched = None;
        self.content = Content::No;
        self.mark = Mark::None;
        if self.seen != 0 {
            self.seen = 0;
            for slot in &mut self.slots {
                slot.raw.clear();
                slot.complete = false;
                slot.too_long = false;
            }
        }
    }

    /// Reads on. Returns the offset behind the value's last byte when that is in this piece; what follows is not read.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        self.open_from = 0;
        if let Mark::Maybe(spot) | Mark::Set(spot) = &mut self.mark {
            spot.offset = None;
        }
        let mut next = 0;
        let end = loop {
            let Some(&byte) = piece.get(next) else { break None };
            match self.place.at {
                At::Key | At::Text => next = self.string(piece, next),
                At::Scalar => next = self.scalar(piece, next),
                At::Ended | At::Foreign => break None,
                At::Before => {
                    next += 1;
                    self.begin(byte);
                }
                At::Name | At::Colon | At::Value | At::After => {
                    next += 1;
                    match byte {
                        b'"' => next = self.open_string(piece, next - 1),
                        b':' => self.open_value(next),
                        b',' => self.close_value(piece, next - 1),
                        b'{' | b'[' => {
                            self.content = Content::No;
                            self.place.push(byte == b'{');
                        }
                        b'}' | b']' => {
                            if self.close_container(piece, next - 1) {
                                break Some(next);
                            }
                        }
                        b' ' | b'\t' | b'\n' | b'\r' => {}
                        _ => {
                            next -= 1;
                            self.place.at = At::Scalar;
                            self.place.length = 0;
                            self.content = Content::No;
                        }
                    }
                }
            }
        };
        if self.open.is_some() {
            self.capture(piece.get(self.open_from..).unwrap_or_default());
        }
        end
    }

    /// The value of a wanted member, whole and without white space around it.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let slot = self.slot(key)?;
        (slot.complete && !slot.too_long).then(|| slot.raw.trim_ascii())
    }

    /// The first bytes of a wanted member's value, as far as they came.
    pub(super) fn first_bytes(&self, key: &str) -> &[u8] {
        self.slot(key).map_or(&[], |slot| slot.raw.trim_ascii_start())
    }

    /// Which wanted members have begun: bit n for the nth.
    pub(super) fn seen(&self) -> u16 {
        self.seen
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The place just before the bracket that ended the value.
    pub(super) fn place_before_end(&self) -> Place {
        self.before_end
    }

    pub(super) fn ended(&self) -> bool {
        self.place.at == At::Ended
    }

    /// The value is neither object nor array.
    pub(super) fn is_foreign(&self) -> bool {
        self.place.at == At::Foreign
    }

    /// Strings of text seen that were not empty, in all values since the start.
    pub(super) fn contents(&self) -> u64 {
        self.contents
    }

    /// Bytes of those strings, as they are escaped.
    pub(super) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Where the watched member began, while it is `true` or may still become so.
    pub(super) fn marked(&self) -> Option<Spot> {
        match self.mark {
            Mark::None => None,
            Mark::Set(spot) => Some(spot),
            Mark::Maybe(spot) => {
                let read = self.key.get(..self.key_length)?;
                let in_key = self.place.at == At::Key && self.place.depth == 1;
                (!in_key || self.mark_key?.as_bytes().starts_with(read)).then_some(spot)
            }
        }
    }

    fn begin(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.place.push(byte == b'{'),
            // A byte order mark is passed over, as white space is.
            b' ' | b'\t' | b'\n' | b'\r' | 0xef | 0xbb | 0xbf => {}
            _ => self.place.at = At::Foreign,
        }
    }

    /// At a quote. Returns the offset of the first byte that was not read, as all these do.
    fn open_string(&mut self, piece: &[u8], offset: usize) -> usize {
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
    fn string(&mut self, piece: &[u8], from: usize) -> usize {
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

    fn open_value(&mut self, offset: usize) {
        if self.place.at != At::Colon {
            return;
        }
        self.place.at = At::Value;
        self.place.fresh = false;
        if self.place.depth != 1 {
            return;
        }
        let Some(index) = self.matched.take() else { return };
        if let Some(slot) = self.slots.get_mut(index) {
            // Of a key that comes twice the last one counts, as every engine and client has it.
            slot.raw.clear();
            slot.complete = false;
            slot.too_long = false;
        }
        self.seen |= 1 << index;
        self.open = Some(index);
        self.open_from = offset;
    }

    /// At a comma.
    fn close_value(&mut self, piece: &[u8], offset: usize) {
        self.end_capture(piece, offset);
        self.place.at = if self.place.in_object() { At::Name } else { At::Value };
        self.place.fresh = false;
        self.content = Content::No;
    }

    fn close_container(&mut self, piece: &[u8], offset: usize) -> bool {
        self.content = Content::No;
        if self.place.depth == 1 {
            self.end_capture(piece, offset);
            self.before_end = self.place;
        }
        self.place.pop()
    }

    fn end_capture(&mut self, piece: &[u8], offset: usize) {
        if self.place.depth != 1 {
            return;
        }
        let Some(index) = self.open else { return };
        self.capture(piece.get(self.open_from..offset).unwrap_or_default());
        self.open = None;
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.complete = true;
        if let Mark::Maybe(spot) = self.mark {
            self.mark = if slot.raw.trim_ascii() == b"true" { Mark::Set(spot) } else { Mark::None };
        }
    }

    fn capture(&mut self, bytes: &[u8]) {
        let Some(index) = self.open else { return };
        let (Some(slot), Some(wanted)) = (self.slots.get_mut(index), self.wanted.get(index)) else { return };
        let room = wanted.limit.saturating_sub(slot.raw.len());
        slot.too_long |= bytes.len() > room;
        slot.raw.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn slot(&self, key: &str) -> Option<&Slot> {
        let index = self.wanted.iter().position(|wanted| wanted.key == key)?;
        self.slots.get(index)
    }

    /// Reads a number or a word, and returns the offset of the byte that ended it.
    fn scalar(&mut self, piece: &[u8], from: usize) -> usize {
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
