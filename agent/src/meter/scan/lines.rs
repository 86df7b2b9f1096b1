//! An answer of JSON lines: Ollama's `/api/chat` and `/api/generate`.

use super::hold::{Cut, Hold, LineAt};
use crate::meter::{
    counts::{COUNT_LIMIT, Counts, Reading},
    members::{Members, Wanted},
};
use bytes::Bytes;
use memchr::memchr;

const WANTED: &[Wanted] = &[
    Wanted { key: "done", limit: 8 },
    Wanted { key: "error", limit: 8 },
    // These two are asked for only to know whether a cut line has them.
    Wanted { key: "message", limit: 0 },
    Wanted { key: "response", limit: 0 },
    Wanted { key: "prompt_eval_count", limit: COUNT_LIMIT },
    Wanted { key: "eval_count", limit: COUNT_LIMIT },
];

/// Bits of [`Cut::seen`], in the order of `WANTED`.
pub(in super::super) const SEEN_DONE: u16 = 1;
pub(in super::super) const SEEN_MESSAGE: u16 = 1 << 2;
pub(in super::super) const SEEN_RESPONSE: u16 = 1 << 3;

#[derive(Debug)]
pub(super) struct Lines {
    members: Members,
    counts: Counts,
    hold: Hold,
    at_start: bool,
    marked: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            members: Members::new(WANTED).watching("done"),
            counts: Counts::default(),
            hold: Hold::new(),
            at_start: true,
            marked: false,
        }
    }

    pub(super) fn feed(&mut self, frame: Bytes, release: &mut Vec<Bytes>) {
        if self.marked {
            return self.hold.keep_behind_marker(frame);
        }
        let mut next = 0;
        while next < frame.len() && !self.marked {
            let rest = frame.get(next..).unwrap_or_default();
            let newline = memchr(b'\n', rest);
            let line = rest.get(..newline.unwrap_or(rest.len())).unwrap_or_default();
            let whole = self.at_start.then_some(next);
            self.at_start = false;
            if let Some(end) = self.members.feed(line) {
                self.end_value(whole, next, next + end);
            } else if newline.is_none() {
                self.hold_at_mark(next);
            }
            next += line.len();
            if newline.is_some() && !self.marked {
                // Also for a line that broke off: the next one is read afresh.
                next += 1;
                self.hold.cancel();
                self.members.reset();
                self.at_start = true;
            }
        }
        self.hold.finish_frame(frame, !self.marked, release);
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

    pub(super) fn cut(&self) -> Cut {
        let line = if self.at_start { LineAt::Start } else { LineAt::Json };
        let live = Cut { line, data: false, place: self.members.place(), seen: self.members.seen() };
        self.hold.cut().unwrap_or(live)
    }

    pub(super) fn sent(&self) -> &[u8] {
        self.hold.sent()
    }

    /// `whole` is where the line began, when that was in this frame; `base` where the piece begins that was read last.
    fn end_value(&mut self, whole: Option<usize>, base: usize, end: usize) {
        self.counts.take_error(self.members.first_bytes("error"));
        if self.members.get("done") != Some(b"true") {
            return self.hold.cancel();
        }
        self.counts.take_ollama(self.members.get("prompt_eval_count"), self.members.get("eval_count"));
        self.marked = true;
        let spot = self.members.marked();
        let cut = |place, seen| Cut { line: LineAt::Json, data: false, place, seen };
        match (whole, spot.and_then(|spot| Some((spot.offset?, spot)))) {
            (Some(offset), _) => self.hold.begin(offset, Cut::line_start(false)),
            (None, Some((offset, spot))) => self.hold.begin(base + offset, cut(spot.place, spot.seen)),
            (None, None) if self.hold.is_active() => {}
            // Longer than may be held: its end alone.
            (None, None) => {
                let cut = cut(self.members.place_before_end(), self.members.seen());
                self.hold.begin(end - 1, cut);
            }
        }
    }

    /// The frame ends within a line: from the key `done` on it waits.
    fn hold_at_mark(&mut self, base: usize) {
        let Some(spot) = self.members.marked() else { return self.hold.cancel() };
        let Some(offset) = spot.offset else { return };
        let cut = Cut { line: LineAt::Json, data: false, place: spot.place, seen: spot.seen };
        self.hold.begin(base + offset, cut);
    }
}
