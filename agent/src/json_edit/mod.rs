//! Reads and changes a few members of a JSON object in place: every byte that is not changed stays as it came, so that
//! what the engine gets is what was checked.

use bytes::Bytes;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, ops::Range};

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error("the body is not UTF-8: byte {offset} is wrong")]
    NotUtf8 { offset: usize },
    /// Line and column count from 1, the column in bytes; for a nested object they count from its own first byte.
    #[error("the body is not valid JSON: line {line}, column {column}")]
    Invalid { line: usize, column: usize },
    #[error("the body is not a JSON object")]
    NotAnObject,
    #[error("the member \"{key}\" occurs twice")]
    DuplicateKey { key: &'static str },
    /// Engines written in Go take such a member for `key`.
    #[error("the member \"{found}\" must be written \"{key}\"")]
    CaseVariant { key: &'static str, found: String },
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    /// The value as it is written.
    pub(crate) raw: &'a str,
    /// Where the value is in the body.
    pub(crate) range: Range<usize>,
    /// Where key and value are in the body, from the key's first quote to the value's last byte.
    pub(crate) member_range: Range<usize>,
}

impl Member<'_> {
    pub(crate) fn is_null(&self) -> bool {
        self.raw == "null"
    }

    /// The value, when it is a string.
    pub(crate) fn string(&self) -> Option<String> {
        serde_json::from_str(self.raw).ok()
    }

    /// The value, when it is true or false.
    pub(crate) fn boolean(&self) -> Option<bool> {
        self.raw.parse().ok()
    }
}

/// The members of one object that policy reads. Others are passed over without being kept, so that memory does not grow
/// with the body.
#[derive(Debug)]
pub(crate) struct TopLevel<'a> {
    members: Vec<(&'static str, Member<'a>)>,
    tail: Tail,
}

/// Where an object can be added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Offset of the closing brace in the body.
    end: usize,
    is_empty: bool,
}

impl<'a> TopLevel<'a> {
    /// Reads a body. `read` are the keys that policy reads, in ASCII.
    ///
    /// A key of these that occurs twice is refused, and so is one in another case: Go's `encoding/json`, and so Ollama,
    /// folds case and lets the last win, so that the engine would run another model than the one that was checked.
    pub(crate) fn parse(body: &'a [u8], read: &[&'static str]) -> Result<Self, BodyFault> {
        let text =
            std::str::from_utf8(body).map_err(|error| BodyFault::NotUtf8 { offset: error.valid_up_to() })?;
        Self::parse_at(text, 0, read)
    }

    /// Reads the object that is the value of a member; all ranges are those of the whole body.
    pub(crate) fn parse_nested(member: &Member<'a>, read: &[&'static str]) -> Result<Self, BodyFault> {
        Self::parse_at(member.raw, member.range.start, read)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|(found, _)| *found == key).map(|(_, member)| member)
    }

    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    fn parse_at(text: &'a str, base: usize, read: &[&'static str]) -> Result<Self, BodyFault> {
        let invalid =
            |error: serde_json::Error| BodyFault::Invalid { line: error.line(), column: error.column() };
        let trimmed = text.trim_ascii();
        if !trimmed.starts_with('{') {
            serde_json::from_str::<IgnoredAny>(text).map_err(invalid)?;
            return Err(BodyFault::NotAnObject);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let mut reader = Reader { text, base, read, members: Vec::new(), empty: true, fault: None };
        json.deserialize_map(&mut reader).map_err(invalid)?;
        json.end().map_err(invalid)?;
        if let Some(fault) = reader.fault {
            return Err(fault);
        }
        // Valid JSON that begins with a brace ends with one.
        let end = base + text.trim_ascii_end().len().saturating_sub(1);
        Ok(Self { members: reader.members, tail: Tail { end, is_empty: reader.empty } })
    }
}

struct Reader<'r, 'a> {
    text: &'a str,
    base: usize,
    read: &'r [&'static str],
    members: Vec<(&'static str, Member<'a>)>,
    empty: bool,
    /// The first one. The reading goes on: that the body is no JSON is the more useful thing to say.
    fault: Option<BodyFault>,
}

impl<'a> Visitor<'a> for &mut Reader<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&'a RawValue>()? {
            let value = map.next_value::<&'a RawValue>()?;
            self.empty = false;
            self.take(key.get(), value.get());
        }
        Ok(())
    }
}

impl<'a> Reader<'_, 'a> {
    fn take(&mut self, quoted: &'a str, raw: &'a str) {
        let name = quoted.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(quoted);
        let name = if name.contains('\\') {
            // A lone surrogate is in no key that is read, nor in what Go makes of it.
            let Ok(name) = serde_json::from_str::<String>(quoted) else { return };
            Cow::Owned(name)
        } else {
            Cow::Borrowed(name)
        };
        let Some(key) = self.read.iter().copied().find(|key| folds_to(&name, key)) else { return };
        if name != key {
            self.fault.get_or_insert(BodyFault::CaseVariant { key, found: name.into_owned() });
        } else if self.members.iter().any(|(found, _)| *found == key) {
            self.fault.get_or_insert(BodyFault::DuplicateKey { key });
        } else {
            let start = self.offset_of(raw);
            let range = start..start + raw.len();
            let member_range = self.offset_of(quoted)..range.end;
            self.members.push((key, Member { raw, range, member_range }));
        }
    }

    /// `part` is a slice of the text.
    fn offset_of(&self, part: &str) -> usize {
        self.base + (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize)
    }
}

/// True when Go's `encoding/json` takes `name` for `key`: equal under Unicode simple case folding, by which `ſ` (U+017F)
/// is an s and `K` (U+212A, the Kelvin sign) a k. No other character folds to an ASCII letter.
fn folds_to(name: &str, key: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(key);
    }
    let folded = name.chars().map(|letter| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        _ => letter.to_ascii_lowercase(),
    });
    folded.eq(key.chars().map(|letter| letter.to_ascii_lowercase()))
}

/// Changes to be made to a body. They must not overlap: of two that do, the one that begins later is left out.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Edits {
    /// Puts other bytes in the place of a range, as [`Member::range`] gives it.
    pub(crate) fn replace(&mut self, range: Range<usize>, bytes: impl Into<Vec<u8>>) {
        self.edits.push((range, bytes.into()));
    }

    /// Adds a member at the end of an object. `key` needs no escaping; `value` is JSON.
    pub(crate) fn insert_member(&mut self, object: Tail, key: &'static str, value: &str) {
        let at = object.end..object.end;
        let first = object.is_empty && !self.edits.iter().any(|(range, _)| *range == at);
        let comma = if first { "" } else { "," };
        self.edits.push((at, format!("{comma}\"{key}\":{value}").into_bytes()));
    }

    /// The body with all changes made; the same memory when there are none.
    pub(crate) fn apply(mut self, body: Bytes) -> Bytes {
        if self.edits.is_empty() {
            return body;
        }
        // Stable: members added to one object keep their order.
        self.edits.sort_by_key(|(range, _)| range.start);
        let added: usize = self.edits.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut edited = Vec::with_capacity(body.len() + added);
        let mut next = 0;
        for (range, bytes) in &self.edits {
            let Some(unchanged) = body.get(next..range.start) else { continue };
            edited.extend_from_slice(unchanged);
            edited.extend_from_slice(bytes);
            next = range.end;
        }
        edited.extend_from_slice(body.get(next..).unwrap_or_default());
        edited.into()
    }
}

#[cfg(test)]
mod tests;
