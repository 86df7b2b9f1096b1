//! An answer of one JSON value: OpenAI, Anthropic and Ollama without streaming, and embeddings.

use super::hold::{Cut, Hold, LineAt, MAX_HELD_BYTES};
use crate::meter::{
    counts::{COUNT_LIMIT, Counts, Reading, USAGE_LIMIT},
    members::{Members, Wanted},
};
use bytes::Bytes;

const WANTED: &[Wanted] = &[
    Wanted { key: "usage", limit: USAGE_LIMIT },
    Wanted { key: "error", limit: 8 },
    Wanted { key: "prompt_eval_count", limit: COUNT_LIMIT },
    Wanted { key: "eval_count", limit: COUNT_LIMIT },
];

#[derive(Debug)]
pub(super) struct Whole {
    members: Members,
    counts: Counts,
    hold: Hold,
    first: bool,
    marked: bool,
}

impl Whole {
    pub(super) fn new() -> Self {
        Self {
            members: Members::new(WANTED),
            counts: Counts::default(),
            hold: Hold::new(),
            first: true,
            marked: false,
        }
    }

    pub(super) fn feed(&mut self, frame: Bytes, release: &mut Vec<Bytes>) {
        if self.marked {
            return self.hold.keep_behind_marker(frame);
        }
        let start = self.cut();
        let first = std::mem::take(&mut self.first);
        if let Some(end) = self.members.feed(&frame) {
            self.read_members();
            self.marked = true;
            // A short body in one piece leaves in one piece: nobody can use a part of it.
            if first && frame.len() <= MAX_HELD_BYTES {
                self.hold.begin(0, start);
            } else {
                let place = self.members.place_before_end();
                self.hold.begin(end - 1, Cut { place, seen: self.members.seen(), ..start });
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
        self.counts.of_body(self.members.content_bytes())
    }

    pub(super) fn cut(&self) -> Cut {
        self.hold.cut().unwrap_or(Cut {
            line: LineAt::Json,
            data: false,
            place: self.members.place(),
            seen: self.members.seen(),
        })
    }

    pub(super) fn sent(&self) -> &[u8] {
        self.hold.sent()
    }

    fn read_members(&mut self) {
        if let Some(usage) = self.members.get("usage") {
            self.counts.take_usage(usage, true);
        }
        self.counts.take_ollama(self.members.get("prompt_eval_count"), self.members.get("eval_count"));
        self.counts.take_error(self.members.first_bytes("error"));
    }
}
