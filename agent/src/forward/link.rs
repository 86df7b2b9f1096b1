//! One connection to an engine, and the answer that comes by it.
//!
//! hyper would have a connection be a task of its own. Here it is polled in the task of the request that uses it: what
//! an engine sent in one go is read and sent on in one go, and no piece waits for another task's turn.
//!
//! So whatever the halves of a connection tell each other comes of driving it, in that very task. They are polled with
//! wakers that wake nobody, or each word between them would have the task polled once more; only the socket wakes it.

use super::{
    body::{EngineRequestBody, Feed},
    pool::Pool,
    socket::{Readiness, Socket},
};
use crate::{
    ask::{BodyFault, Upload},
    dial::Connection,
    snapshot::Engine,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tokio::{
    task::coop::unconstrained,
    time::{Instant, sleep},
};

type Running = http1::Connection<TokioIo<Socket>, EngineRequestBody>;

/// Dropping it closes the connection, which is how an engine learns that nobody waits any more.
pub(super) struct Link {
    sender: SendRequest<EngineRequestBody>,
    connection: Driven,
}

/// The half of a connection that reads and writes.
struct Driven {
    /// `None` once it has ended.
    running: Option<Pin<Box<Running>>>,
    readiness: Arc<Readiness>,
    nudge: Arc<Nudge>,
    waker: Waker,
}

/// That a request was handed in or a piece of the body taken, so that there is something to do for the connection; or
/// that hyper wants to go on, but let others have a turn first.
struct Nudge(AtomicBool);

/// How a body that is fed can fail.
pub(super) enum FeedFault {
    Broken(hyper::Error),
    EngineSilent,
    Caller(BodyFault),
}

/// The body of an engine's answer, with the connection that it comes by.
pub(crate) struct EngineBody {
    incoming: Incoming,
    link: Link,
    pool: Pool,
    origin: Arc<str>,
}

impl Link {
    pub(super) async fn new(connection: Connection) -> hyper::Result<Self> {
        let (socket, readiness) = Socket::new(connection);
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(socket)).await?;
        let nudge = Arc::new(Nudge(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&nudge));
        let connection = Driven { running: Some(Box::pin(connection)), readiness, nudge, waker };
        Ok(Self { sender, connection })
    }

    /// Sends and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<EngineRequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<EngineRequestBody>>> {
        self.connection.readiness.forget_read();
        // Of tokio's budget too: a wait that it asks for would wake nobody.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        let connection = &mut self.connection;
        poll_fn(|context| {
            connection.drive(context.waker());
            answer.as_mut().poll(&mut nobody())
        })
        .await
    }

    /// Sends a request whose body is fed from the caller's, and waits for the head of the answer, which may come before
    /// all of the body has gone. Patience is with the caller's next piece, and with the engine.
    pub(super) async fn send_fed(
        &mut self,
        request: Request<EngineRequestBody>,
        feed: &Feed,
        upload: &mut Upload,
        (with_caller, with_engine): (Duration, Duration),
    ) -> Result<Response<Incoming>, FeedFault> {
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        let connection = &mut self.connection;
        let mut patience = pin!(sleep(with_caller));
        let mut is_callers_turn = true;
        poll_fn(|context| {
            loop {
                connection.drive(context.waker());
                if let Poll::Ready(answer) = answer.as_mut().poll(&mut nobody()) {
                    return Poll::Ready(answer.map_err(|failed| FeedFault::Broken(failed.into_error())));
                }
                let is_hungry = feed.is_hungry();
                if is_hungry && !is_callers_turn {
                    is_callers_turn = true;
                    patience.as_mut().reset(Instant::now() + with_caller);
                }
                if is_hungry && let Poll::Ready(piece) = upload.poll_piece(context) {
                    feed.give(piece.map_err(FeedFault::Caller)?);
                    connection.nudge.0.store(true, Ordering::Relaxed);
                    is_callers_turn = false;
                    patience.as_mut().reset(Instant::now() + with_engine);
                    continue;
                }
                return patience.as_mut().poll(context).map(|()| {
                    Err(if is_hungry {
                        FeedFault::Caller(BodyFault::TooSlow)
                    } else {
                        FeedFault::EngineSilent
                    })
                });
            }
        })
        .await
    }

    /// Whether a byte of an answer came since the last request was sent.
    pub(super) fn has_heard(&self) -> bool {
        self.connection.readiness.has_read()
    }

    /// Whether it can take a request now, as far as this core has heard from the engine.
    pub(super) fn is_ready(&mut self) -> bool {
        self.connection.drive(Waker::noop());
        self.connection.running.is_some()
            && matches!(self.sender.poll_ready(&mut nobody()), Poll::Ready(Ok(())))
    }
}

impl Driven {
    /// Reads and writes what can be; `task` is woken when more can. How a connection ends reaches the request that waits
    /// on it.
    fn drive(&mut self, task: &Waker) {
        let Some(running) = &mut self.running else { return };
        self.readiness.wakes(task);
        // Both, or what is left would be done again for nothing.
        if !(self.readiness.take() | self.nudge.take()) {
            return;
        }
        if running.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.running = None;
        } else if self.nudge.0.load(Ordering::Relaxed) {
            task.wake_by_ref();
        }
    }
}

impl Nudge {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl EngineBody {
    pub(super) fn new(incoming: Incoming, link: Link, pool: Pool, engine: &Engine) -> Self {
        Self { incoming, link, pool, origin: Arc::clone(&engine.origin) }
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let read = Pin::new(&mut self.incoming).poll_frame(&mut nobody());
        if read.is_ready() {
            return read;
        }
        self.link.connection.drive(context.waker());
        Pin::new(&mut self.incoming).poll_frame(&mut nobody())
    }

    /// The answer was read to its end: the connection may serve again.
    pub(crate) fn give_back(self) {
        self.pool.take_back(self.origin, self.link);
    }
}
