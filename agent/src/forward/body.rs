//! The body of a request to an engine: there whole, or fed to it piece by piece.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use std::{
    cell::RefCell,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

pub(crate) enum EngineRequestBody {
    Whole(Full<Bytes>),
    Fed(Feed),
}

/// One piece at a time between whoever has the caller's body and the connection to the engine, which are polled in one
/// task, so neither waits to be woken by the other.
///
/// It has no way to break off: a body that does is one whose connection is dropped.
#[derive(Clone)]
pub(crate) struct Feed {
    slot: Rc<RefCell<Slot>>,
    /// Bytes in all, when that is known.
    length: Option<u64>,
}

enum Slot {
    Empty,
    Piece(Bytes),
    Ended,
}

impl Feed {
    pub(super) fn new(length: Option<u64>) -> Self {
        Self { slot: Rc::new(RefCell::new(Slot::Empty)), length }
    }

    /// Whether the engine took what it was given and is to get more.
    pub(super) fn is_hungry(&self) -> bool {
        matches!(*self.slot.borrow(), Slot::Empty)
    }

    /// `None` is the end.
    pub(super) fn give(&self, piece: Option<Bytes>) {
        *self.slot.borrow_mut() = piece.map_or(Slot::Ended, Slot::Piece);
    }

    fn take(&self) -> Poll<Option<Bytes>> {
        let mut slot = self.slot.borrow_mut();
        match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Empty => Poll::Pending,
            Slot::Piece(piece) => Poll::Ready(Some(piece)),
            Slot::Ended => {
                *slot = Slot::Ended;
                Poll::Ready(None)
            }
        }
    }
}

impl Body for EngineRequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Fed(feed) => feed.take().map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Fed(feed) => feed.length == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Fed(feed) => feed.length.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
