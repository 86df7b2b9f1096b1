//! Which values begin and end, and the bytes of those that are wanted.

use super::{Content, Mark, Members, Slot};
use crate::meter::place::At;

impl Members {
    pub(super) fn open_value(&mut self, offset: usize) {
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
    pub(super) fn close_value(&mut self, piece: &[u8], offset: usize) {
        self.end_capture(piece, offset);
        self.place.at = if self.place.in_object() { At::Name } else { At::Value };
        self.place.fresh = false;
        self.content = Content::No;
    }

    pub(super) fn close_container(&mut self, piece: &[u8], offset: usize) -> bool {
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

    pub(super) fn capture(&mut self, bytes: &[u8]) {
        let Some(index) = self.open else { return };
        let (Some(slot), Some(wanted)) = (self.slots.get_mut(index), self.wanted.get(index)) else { return };
        let room = wanted.limit.saturating_sub(slot.raw.len());
        slot.too_long |= bytes.len() > room;
        slot.raw.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    pub(super) fn slot(&self, key: &str) -> Option<&Slot> {
        let index = self.wanted.iter().position(|wanted| wanted.key == key)?;
        self.slots.get(index)
    }
}
