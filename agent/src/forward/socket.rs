//! An engine's socket that tells whoever waits for the answer, whoever polls it.

use crate::dial::Connection;
use parking_lot::Mutex;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Socket {
    connection: Connection,
    readiness: Arc<Readiness>,
    waker: Waker,
}

/// What a socket tells: that it has become ready, to the task that it wakes then, and that something came.
pub(super) struct Readiness {
    is_new: AtomicBool,
    has_read: AtomicBool,
    task: Mutex<Waker>,
}

impl Socket {
    pub(super) fn new(connection: Connection) -> (Self, Arc<Readiness>) {
        let readiness = Arc::new(Readiness {
            is_new: AtomicBool::new(true),
            has_read: AtomicBool::new(false),
            task: Mutex::new(Waker::noop().clone()),
        });
        let waker = Waker::from(Arc::clone(&readiness));
        (Self { connection, readiness: Arc::clone(&readiness), waker }, readiness)
    }

    fn with<T>(
        &mut self,
        operation: impl FnOnce(Pin<&mut Connection>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        operation(Pin::new(&mut self.connection), &mut Context::from_waker(&self.waker))
    }
}

impl Readiness {
    pub(super) fn wakes(&self, waker: &Waker) {
        let mut task = self.task.lock();
        if !task.will_wake(waker) {
            task.clone_from(waker);
        }
    }

    /// Whether it has become ready since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.is_new.swap(false, Ordering::Relaxed)
    }

    /// Whether a byte came since [`forget_read`](Self::forget_read).
    pub(super) fn has_read(&self) -> bool {
        self.has_read.load(Ordering::Relaxed)
    }

    pub(super) fn forget_read(&self) {
        self.has_read.store(false, Ordering::Relaxed);
    }
}

impl Wake for Readiness {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_new.store(true, Ordering::Relaxed);
        self.task.lock().wake_by_ref();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.with(|connection, context| connection.poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.readiness.has_read.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|connection, context| connection.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|connection, context| connection.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|connection, context| connection.poll_shutdown(context))
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|connection, context| connection.poll_write_vectored(context, slices))
    }
}
