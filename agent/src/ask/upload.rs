//! The body of a request that is too large to be kept: a model's file, passed on as it comes.

use super::body::BodyFault;
use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The largest file of a model. A trillion weights of eight bits, which is what the largest open models have, in one
/// file.
const MAX_UPLOAD_BYTES: u64 = 1 << 40;

/// What comes of it is counted, and no more than the limit comes.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    passed: u64,
}

impl Upload {
    /// # Errors
    ///
    /// When it says itself that it is too large.
    pub(crate) fn new(body: Incoming) -> Result<Self, BodyFault> {
        check(body.size_hint().lower())?;
        Ok(Self { body, passed: 0 })
    }

    /// Bytes in all, when the caller said so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece; `None` at its end.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(_)) => return Poll::Ready(Err(BodyFault::Broken)),
                Some(Ok(frame)) => frame,
            };
            // Trailers are nobody's.
            let Ok(data) = frame.into_data() else { continue };
            self.passed = self.passed.saturating_add(data.len() as u64);
            check(self.passed)?;
            return Poll::Ready(Ok(Some(data)));
        }
    }
}

fn check(bytes: u64) -> Result<(), BodyFault> {
    if bytes > MAX_UPLOAD_BYTES {
        let limit = usize::try_from(MAX_UPLOAD_BYTES).unwrap_or(usize::MAX);
        return Err(BodyFault::TooLarge { limit });
    }
    Ok(())
}
