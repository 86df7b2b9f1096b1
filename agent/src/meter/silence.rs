//! How long an engine may say nothing.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// One timer for the whole stream: it is looked at when it fires and moved then, not at each chunk.
pub(super) struct Silence {
    timer: Pin<Box<Sleep>>,
    pub(super) last_byte: Instant,
    longest: Duration,
}

impl Silence {
    pub(super) fn new(longest: Duration) -> Self {
        let now = Instant::now();
        Self { timer: Box::pin(tokio::time::sleep_until(now + longest)), last_byte: now, longest }
    }

    /// Ready when nothing came for too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let deadline = self.last_byte + self.longest;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}
