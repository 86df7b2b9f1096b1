//! The top-level members of a JSON value, read as its bytes pass in pieces of any size. Nothing else of the value is
//! kept, so a line of 100 MB takes no more memory than one of 100 bytes.

mod capture;
mod text;

use super::place::{At, Place};

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
}
