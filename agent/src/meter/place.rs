//! Where in a JSON text a stream stands, in so few bytes that it can be copied: enough to end the text well from there.

/// Containers whose kind is remembered. 128 is what `serde_json` reads at most, so no client of it sees deeper ones.
const MAX_TRACKED_DEPTH: u32 = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Nothing of the value has come.
    Before,
    /// The value is neither object nor array: not ours to read.
    Foreign,
    /// In an object: a key comes, or the end.
    Name,
    Key,
    Colon,
    Value,
    Text,
    Scalar,
    /// A value is complete: a comma comes, or the end of the container.
    After,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    None,
    Backslash,
    /// Behind `\u`: hex digits to come, and the ones that came.
    Hex {
        left: u8,
        unit: u16,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) at: At,
    /// No member or item of the innermost container has come.
    pub(super) fresh: bool,
    pub(super) escape: Escape,
    /// The last unit of the string was the first half of a surrogate pair.
    pub(super) high: bool,
    /// Of the number, `true`, `false` or `null` that is being read.
    pub(super) first: u8,
    pub(super) last: u8,
    pub(super) length: u8,
    pub(super) depth: u32,
    /// Bit n is set when the container at depth n + 1 is an object.
    objects: u128,
}

impl Place {
    pub(super) fn start() -> Self {
        Self {
            at: At::Before,
            fresh: true,
            escape: Escape::None,
            high: false,
            first: 0,
            last: 0,
            length: 0,
            depth: 0,
            objects: 0,
        }
    }

    pub(super) fn push(&mut self, object: bool) {
        if self.depth < MAX_TRACKED_DEPTH {
            let bit = 1u128 << self.depth;
            self.objects = if object { self.objects | bit } else { self.objects & !bit };
        }
        self.depth = self.depth.saturating_add(1);
        self.at = if object { At::Name } else { At::Value };
        self.fresh = true;
    }

    /// True when this was the outermost container.
    pub(super) fn pop(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        self.at = if self.depth == 0 { At::Ended } else { At::After };
        self.fresh = false;
        self.depth == 0
    }

    pub(super) fn in_object(&self) -> bool {
        self.is_object(self.depth)
    }

    /// True between the first bracket of the value and its last.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// Before any byte of an object, as [`finish`](Self::finish) sees one that it may still fill.
    pub(super) fn is_before(&self) -> bool {
        self.at == At::Before
    }

    /// What makes the open object a whole JSON text, with `members` (`"a":1,"b":2`) added at its top level. `sent` are
    /// the last bytes that went out, from which a cut character is completed. None when the text is not an object, or is
    /// nested deeper than can be told.
    pub(super) fn finish(&self, sent: &[u8], members: &str) -> Option<Vec<u8>> {
        if self.depth == 0 || self.depth > MAX_TRACKED_DEPTH || !self.is_object(1) {
            return None;
        }
        let mut text = Vec::with_capacity(members.len() + 32);
        let mut comma = !self.fresh;
        match self.at {
            At::Key => {
                self.finish_string(sent, &mut text);
                text.extend_from_slice(b":null");
                comma = true;
            }
            At::Text => {
                self.finish_string(sent, &mut text);
                comma = true;
            }
            At::Colon => {
                text.extend_from_slice(b":null");
                comma = true;
            }
            At::Value if self.in_object() || !self.fresh => {
                text.extend_from_slice(b"null");
                comma = true;
            }
            At::Name if !self.fresh && (self.depth > 1 || members.is_empty()) => {
                text.extend_from_slice(b"\"\":null");
            }
            At::Name => comma = false,
            At::Scalar => {
                text.extend_from_slice(self.rest_of_scalar());
                comma = true;
            }
            At::Value | At::After | At::Before | At::Foreign | At::Ended => {}
        }
        for depth in (2..=self.depth).rev() {
            text.push(if self.is_object(depth) { b'}' } else { b']' });
            comma = true;
        }
        if !members.is_empty() {
            if comma {
                text.push(b',');
            }
            text.extend_from_slice(members.as_bytes());
        }
        text.push(b'}');
        Some(text)
    }

    fn is_object(&self, depth: u32) -> bool {
        (1..=MAX_TRACKED_DEPTH).contains(&depth) && self.objects >> (depth - 1) & 1 == 1
    }

    fn finish_string(&self, sent: &[u8], text: &mut Vec<u8>) {
        match (self.escape, self.high) {
            (Escape::None, false) => text.extend_from_slice(rest_of_char(sent)),
            (Escape::None, true) => text.extend_from_slice(br"\udc00"),
            (Escape::Backslash, false) => text.push(b'\\'),
            (Escape::Backslash, true) => text.extend_from_slice(b"udc00"),
            (Escape::Hex { left, .. }, true) => {
                let digits = b"dc00";
                text.extend_from_slice(digits.get(4usize.saturating_sub(left.into())..).unwrap_or_default());
            }
            (Escape::Hex { left, unit }, false) => {
                text.extend(std::iter::repeat_n(b'0', left.into()));
                let shift = 4 * u32::from(left.min(3));
                if is_high_surrogate(unit << shift) {
                    text.extend_from_slice(br"\udc00");
                }
            }
        }
        text.push(b'"');
    }

    fn rest_of_scalar(&self) -> &'static [u8] {
        let word: &[u8] = match self.first {
            b't' => b"true",
            b'f' => b"false",
            b'n' => b"null",
            _ if matches!(self.last, b'-' | b'+' | b'.' | b'e' | b'E') => return b"0",
            _ => return b"",
        };
        word.get(self.length.into()..).unwrap_or_default()
    }
}

pub(super) fn is_high_surrogate(unit: u16) -> bool {
    (0xd800..=0xdbff).contains(&unit)
}

/// Continuation bytes that make a character of a lead byte at the end of `sent` (RFC 3629, table of section 4).
fn rest_of_char(sent: &[u8]) -> &'static [u8] {
    match sent {
        [.., 0xf0] => b"\x90\x80\x80",
        [.., 0xf1..=0xf4] => b"\x80\x80\x80",
        [.., 0xf0..=0xf4, 0x80..=0xbf] => b"\x80\x80",
        [.., 0xf0..=0xf4, 0x80..=0xbf, 0x80..=0xbf] => b"\x80",
        [.., 0xe0] => b"\xa0\x80",
        [.., 0xe1..=0xef] => b"\x80\x80",
        [.., 0xe0..=0xef, 0x80..=0xbf] => b"\x80",
        [.., 0xc2..=0xdf] => b"\x80",
        _ => b"",
    }
}
