//! The body of an answer to a caller: whole, or as it comes.

use crate::{
    load::InHand,
    meter::{Interrupted, MeteredBody},
    peer::InProgress,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

pub(crate) struct AnswerBody {
    content: Content,
    /// Its request is in progress for as long as the body lives.
    in_progress: Option<InProgress>,
    /// As long, the gateway has it in hand.
    _in_hand: Option<InHand>,
}

enum Content {
    Whole(Option<Bytes>),
    Stream(Box<MeteredBody>),
}

impl AnswerBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            content: Content::Whole((!bytes.is_empty()).then_some(bytes)),
            in_progress: None,
            _in_hand: None,
        }
    }

    pub(crate) fn stream(body: Box<MeteredBody>) -> Self {
        Self { content: Content::Stream(body), in_progress: None, _in_hand: None }
    }

    pub(crate) fn counted(self, in_progress: InProgress) -> Self {
        Self { in_progress: Some(in_progress), ..self }
    }

    pub(crate) fn held(self, in_hand: InHand) -> Self {
        Self { _in_hand: Some(in_hand), ..self }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Stream(body) => Pin::new(body.as_mut()).poll_frame(context),
        };
        if let Some(in_progress) = &mut this.in_progress {
            match &frame {
                Poll::Ready(Some(Err(_))) => in_progress.break_off(),
                Poll::Ready(Some(Ok(_))) => in_progress.gives(true),
                Poll::Ready(None) | Poll::Pending => in_progress.gives(false),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
