//! How long an engine may say nothing, and what is said in its place meanwhile.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// How long a stream of events is without a word. nginx and most balancers give up after 60 s without a byte, some after 30.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);

/// One timer for the whole stream: it is looked at when it fires and moved then, not at each chunk.
pub(super) struct Silence {
    timer: Pin<Box<Sleep>>,
    pub(super) last_byte: Instant,
    longest: Duration,
    pings: Option<Pings>,
}

/// For streams that have a way to say nothing.
struct Pings {
    every: Duration,
    /// When one was due last.
    last: Instant,
}

/// What a silence has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silent {
    /// Long enough for those in between to wonder.
    Awhile,
    /// Too long.
    TooLong,
}

impl Silence {
    /// `ping_every`: for streams that have a way to say nothing.
    pub(super) fn new(longest: Duration, ping_every: Option<Duration>) -> Self {
        let now = Instant::now();
        let first = ping_every.map_or(longest, |every| every.min(longest));
        Self {
            timer: Box::pin(tokio::time::sleep_until(now + first)),
            last_byte: now,
            longest,
            pings: ping_every.map(|every| Pings { every, last: now }),
        }
    }

    /// Ready when nothing came for a while.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Silent> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let now = Instant::now();
            let deadline = self.last_byte + self.longest;
            if deadline <= now {
                return Poll::Ready(Silent::TooLong);
            }
            let mut next = deadline;
            if let Some(pings) = &mut self.pings {
                let due = self.last_byte.max(pings.last) + pings.every;
                if due <= now {
                    pings.last = now;
                    self.timer.as_mut().reset(deadline.min(now + pings.every));
                    return Poll::Ready(Silent::Awhile);
                }
                next = deadline.min(due);
            }
            self.timer.as_mut().reset(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn next(silence: &mut Silence) -> Silent {
        poll_fn(|context| silence.poll(context)).await
    }

    #[tokio::test]
    async fn pings_come_until_a_silence_is_too_long_and_a_byte_begins_it_anew() {
        let (longest, every) = (Duration::from_millis(250), Duration::from_millis(100));
        let began = Instant::now();
        let mut silence = Silence::new(longest, Some(every));
        assert_eq!([next(&mut silence).await, next(&mut silence).await], [Silent::Awhile; 2]);
        silence.last_byte = Instant::now();
        while next(&mut silence).await == Silent::Awhile {}
        assert!(began.elapsed() >= 2 * every + longest);
        let mut silence = Silence::new(every, None);
        assert_eq!(next(&mut silence).await, Silent::TooLong);
    }
}
