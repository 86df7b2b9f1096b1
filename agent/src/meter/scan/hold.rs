//! Bytes that came from the engine and may not go to the client yet.

use super::super::place::Place;
use bytes::Bytes;

/// What one stream keeps back at most, the frame that brings the end aside (it is in memory as it is). The longest
/// thing that is worth being held whole is the last line of Ollama's `/api/generate`, which lists the context as
/// numbers: 64 KiB are about 9,000 tokens. Of a longer one only the last bracket waits.
pub(crate) const MAX_HELD_BYTES: usize = 64 * 1024;

/// The bytes that went out last, as many as a character can be short of one.
const TAIL_BYTES: usize = 3;

/// How far the text stands that the client has.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Cut {
    pub(in super::super) line: LineAt,
    /// The unfinished event has whole data lines before this one.
    pub(in super::super) data: bool,
    /// Within the JSON of this line or body.
    pub(in super::super) place: Place,
    /// Which wanted members of it have begun, as [`Members::seen`](super::super::members::Members::seen) tells.
    pub(in super::super) seen: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum LineAt {
    Start,
    /// Within a line that has no JSON, or before it is known which field it is.
    Other,
    /// Behind `data:`, or within the JSON of a line or body.
    Json,
}

impl Cut {
    /// Before the first byte of a line; `data` as in the field.
    pub(super) fn line_start(data: bool) -> Self {
        Self { line: LineAt::Start, data, place: Place::start(), seen: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Hold {
    /// From earlier frames, in order.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    from: From,
    /// The client's text where the hold began.
    cut: Option<Cut>,
    /// Of the current frame: what is before this offset has gone out or was dropped.
    done: usize,
    sent: [u8; TAIL_BYTES],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Nowhere,
    Earlier,
    Here(usize),
}

impl Hold {
    pub(super) fn new() -> Self {
        Self {
            kept: Vec::new(),
            kept_bytes: 0,
            from: From::Nowhere,
            cut: None,
            done: 0,
            sent: [0; TAIL_BYTES],
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.from != From::Nowhere
    }

    /// Holds from an offset of the current frame on.
    pub(super) fn begin(&mut self, offset: usize, cut: Cut) {
        self.from = From::Here(offset.max(self.done));
        self.cut = Some(cut);
    }

    /// Lets go of all; the bytes leave when the frame has been read.
    pub(super) fn cancel(&mut self) {
        self.from = From::Nowhere;
        self.cut = None;
    }

    /// Forgets what is held and the frame up to `offset`; what is not held before it goes out.
    pub(super) fn drop_to(&mut self, offset: usize, frame: &Bytes, release: &mut Vec<Bytes>) {
        match self.from {
            From::Earlier => self.kept.clear(),
            From::Here(start) => {
                self.send_kept(release);
                self.send(part(frame, self.done, start), release);
            }
            From::Nowhere => self.send_kept(release),
        }
        if self.kept.is_empty() {
            self.kept_bytes = 0;
        }
        self.done = offset;
        self.cancel();
    }

    /// The frame has been read to its end. Where `bounded`, a hold that grows too large goes out; false tells that.
    pub(super) fn finish_frame(&mut self, frame: Bytes, bounded: bool, release: &mut Vec<Bytes>) -> bool {
        let done = std::mem::take(&mut self.done);
        if self.from != From::Earlier {
            self.send_kept(release);
        }
        let here = match self.from {
            From::Nowhere => {
                self.send(whole_from(frame, done), release);
                return true;
            }
            From::Earlier => done,
            From::Here(start) => {
                self.send(part(&frame, done, start), release);
                start
            }
        };
        let rest = whole_from(frame, here);
        if bounded && self.kept_bytes.saturating_add(rest.len()) > MAX_HELD_BYTES {
            self.cancel();
            self.send_kept(release);
            self.send(rest, release);
            return false;
        }
        self.keep(rest);
        true
    }

    /// What comes behind the end marker. Over the bound it is forgotten: no client reads on there, and to let the marker
    /// go for its sake would be wrong.
    pub(super) fn keep_behind_marker(&mut self, frame: Bytes) {
        if self.kept_bytes.saturating_add(frame.len()) <= MAX_HELD_BYTES {
            self.keep(frame);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.cancel();
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept)
    }

    /// The client's text where a hold began, and None where nothing is held.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    pub(super) fn sent(&self) -> &[u8] {
        &self.sent
    }

    fn keep(&mut self, bytes: Bytes) {
        self.from = From::Earlier;
        if !bytes.is_empty() {
            self.kept_bytes += bytes.len();
            self.kept.push(bytes);
        }
    }

    fn send_kept(&mut self, release: &mut Vec<Bytes>) {
        self.kept_bytes = 0;
        for bytes in std::mem::take(&mut self.kept) {
            self.send(bytes, release);
        }
    }

    fn send(&mut self, bytes: Bytes, release: &mut Vec<Bytes>) {
        if bytes.is_empty() {
            return;
        }
        let from = bytes.len().saturating_sub(TAIL_BYTES);
        for byte in bytes.iter().skip(from) {
            self.sent.rotate_left(1);
            if let Some(last) = self.sent.last_mut() {
                *last = *byte;
            }
        }
        release.push(bytes);
    }
}

fn part(frame: &Bytes, from: usize, to: usize) -> Bytes {
    let to = to.min(frame.len());
    frame.slice(from.min(to)..to)
}

fn whole_from(frame: Bytes, from: usize) -> Bytes {
    if from == 0 { frame } else { part(&frame, from, frame.len()) }
}
