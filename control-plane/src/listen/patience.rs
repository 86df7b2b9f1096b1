//! How long a connection may say nothing: a stream that ends when its peer is slow with a request's head, or has nothing
//! to ask for too long.

use hyper::rt::{Read, ReadBufCursor, Write};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// From the first byte of a head to its last; a first request is due at once.
const HEAD: Duration = Duration::from_secs(10);

/// Between requests; a little above the minute after which common balancers let go, so that they are the ones to do so.
const IDLE: Duration = Duration::from_secs(75);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// A head has begun.
    Head,
    /// A request is being answered; that has a bound of its own.
    Busy,
}

/// Counts a request until it is dropped.
pub(super) struct InProgress(Arc<AtomicUsize>);

impl InProgress {
    pub(super) fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) struct Patient<S> {
    stream: S,
    in_progress: Arc<AtomicUsize>,
    phase: Phase,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, in_progress: Arc<AtomicUsize>) -> Self {
        Self { stream, in_progress, phase: Phase::Head, deadline: Box::pin(tokio::time::sleep(HEAD)) }
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase == phase {
            return;
        }
        self.phase = phase;
        match phase {
            Phase::Idle => self.deadline.as_mut().reset(Instant::now() + IDLE),
            Phase::Head => self.deadline.as_mut().reset(Instant::now() + HEAD),
            Phase::Busy => {}
        }
    }
}

impl<S: Read + Unpin> Read for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_busy = this.in_progress.load(Ordering::Relaxed) > 0;
        if is_busy {
            this.enter(Phase::Busy);
        } else if this.phase == Phase::Busy {
            this.enter(Phase::Idle);
        }
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                if this.phase == Phase::Idle {
                    this.enter(Phase::Head);
                }
                Poll::Ready(read)
            }
            Poll::Pending if this.phase == Phase::Busy => Poll::Pending,
            Poll::Pending => {
                ready!(this.deadline.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: Write + Unpin> Write for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }
}
