//! An answer's body: whole, or frame by frame with the time that each token takes.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// A piece of a streamed body.
pub(super) enum Piece {
    /// Carries one token: the next piece waits as long as a token takes.
    Token(String),
    /// Framing, heads and ends.
    Plain(String),
}

/// The engine's response body. Dropping it, as hyper does as soon as the client is gone, ends the generation.
pub(super) enum Body {
    Whole(Option<Bytes>),
    Stream(Stream),
}

pub(super) struct Stream {
    /// Asked for one piece at a time and never ahead, so that what was generated is what was sent.
    pieces: Box<dyn Iterator<Item = Piece> + Send>,
    token_time: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    pub(super) fn stream(token_time: Duration, pieces: impl Iterator<Item = Piece> + Send + 'static) -> Self {
        Self::Stream(Stream { pieces: Box::new(pieces), token_time, pause: None })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => {
                stream.poll(context).map(|text| text.map(|text| Ok(Frame::data(text.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        Poll::Ready(match self.pieces.next() {
            Some(Piece::Token(text)) => {
                self.pause = (!self.token_time.is_zero()).then(|| Box::pin(sleep(self.token_time)));
                Some(text)
            }
            Some(Piece::Plain(text)) => Some(text),
            None => None,
        })
    }
}
