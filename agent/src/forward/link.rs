//! One connection to an engine, and the answer that comes by it.
//!
//! hyper would have a connection be a task of its own. Here it is polled in the task of the request that uses it: what
//! an engine sent in one go is read and sent on in one go, and no piece waits for another task's turn.

use super::pool::Pool;
use crate::{dial::Connection, snapshot::Engine};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::Full;
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
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub(crate) type Body = Full<Bytes>;

/// `None` once it has ended.
type Running = Option<Pin<Box<http1::Connection<TokioIo<Connection>, Body>>>>;

/// Dropping it closes the connection, which is how an engine learns that nobody waits any more.
pub(super) struct Link {
    sender: SendRequest<Body>,
    connection: Running,
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
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(connection)).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    /// Sends and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        poll_fn(|context| {
            drive(connection, context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Whether it can take a request, once it is known.
    pub(super) async fn is_ready(&mut self) -> bool {
        poll_fn(|context| {
            drive(&mut self.connection, context);
            self.sender.poll_ready(context)
        })
        .await
        .is_ok()
    }

    /// Whether the engine has not closed it, as far as this core has heard.
    pub(super) fn is_open(&mut self) -> bool {
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && !self.sender.is_closed()
    }
}

/// Reads and writes what can be. How a connection ends reaches the request that waits on it.
fn drive(connection: &mut Running, context: &mut Context<'_>) {
    if let Some(running) = connection
        && running.as_mut().poll(context).is_ready()
    {
        *connection = None;
    }
}

impl EngineBody {
    pub(super) fn new(incoming: Incoming, link: Link, pool: Pool, engine: &Engine) -> Self {
        Self { incoming, link, pool, origin: Arc::clone(&engine.origin) }
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let read = Pin::new(&mut self.incoming).poll_frame(context);
        if read.is_ready() {
            return read;
        }
        drive(&mut self.link.connection, context);
        Pin::new(&mut self.incoming).poll_frame(context)
    }

    /// The answer was read to its end: the connection may serve again.
    pub(crate) fn give_back(self) {
        self.pool.take_back(self.origin, self.link);
    }
}
