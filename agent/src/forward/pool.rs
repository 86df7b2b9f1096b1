//! Connections to engines: one small pool per core, last in first out, HTTP/1.1 only.

use crate::{
    dial::{DialError, dial},
    snapshot::Engine,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// vLLM closes idle connections after 5 s; a connection that is about to be closed is not worth a failed request.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// An engine that closes an idle connection does so at once; one that breaks later than this had begun to work on the
/// request, and shall not do it twice.
const CLOSING: Duration = Duration::from_millis(100);

/// Idle connections that a core keeps to one engine. More in flight at once are opened and closed again.
const MAX_IDLE_CONNECTIONS: usize = 256;

pub(crate) type Body = Full<Bytes>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SendFault {
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke before a byte of an answer came.
    #[error("{0}")]
    Broken(hyper::Error),
}

/// One core's idle connections, by the engine's origin.
#[derive(Clone)]
pub(crate) struct Pool {
    idle: Rc<RefCell<HashMap<Arc<str>, Vec<Idle>>>>,
    tls: Arc<ClientConfig>,
}

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

/// A connection on loan. Given back with [`Lease::give_back`] after the answer was read to its end; dropping it
/// closes the connection, which is how an engine learns that nobody waits any more.
pub(crate) struct Lease {
    sender: SendRequest<Body>,
    pool: Pool,
    origin: Arc<str>,
}

impl Pool {
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { idle: Rc::default(), tls }
    }

    /// Sends on an idle connection, or a new one. A request that met a connection which the engine was just closing is
    /// sent once more on a new one.
    pub(crate) async fn send(
        &self,
        engine: &Engine,
        request: impl Fn() -> Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), SendFault> {
        if let Some(mut sender) = self.take_idle(&engine.origin).await {
            let sent = Instant::now();
            match sender.try_send_request(request()).await {
                Ok(response) => return Ok((response, self.lease(sender, engine))),
                Err(mut failed) => {
                    let was_not_sent = failed.take_message().is_some();
                    let error = failed.into_error();
                    let was_closing = is_closed(&error) && sent.elapsed() < CLOSING;
                    if !was_not_sent && !was_closing {
                        return Err(SendFault::Broken(error));
                    }
                }
            }
        }
        let mut sender = connect(engine, &self.tls).await?;
        let response = sender.send_request(request()).await.map_err(SendFault::Broken)?;
        Ok((response, self.lease(sender, engine)))
    }

    fn lease(&self, sender: SendRequest<Body>, engine: &Engine) -> Lease {
        Lease { sender, pool: self.clone(), origin: Arc::clone(&engine.origin) }
    }

    async fn take_idle(&self, origin: &str) -> Option<SendRequest<Body>> {
        loop {
            let idle = self.idle.borrow_mut().get_mut(origin)?.pop()?;
            let mut sender = idle.sender;
            if idle.since.elapsed() < MAX_IDLE && !sender.is_closed() && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < MAX_IDLE && !idle.sender.is_closed());
            !idle.is_empty()
        });
    }
}

impl Lease {
    pub(crate) fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut pool = self.pool.idle.borrow_mut();
        let idle = pool.entry(self.origin).or_default();
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}

fn is_closed(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message()
}

async fn connect(engine: &Engine, tls: &Arc<ClientConfig>) -> Result<SendRequest<Body>, SendFault> {
    let upstream = &engine.upstream;
    let connection = dial(&upstream.url, upstream.timeouts.connect, tls).await?;
    let (sender, connection) =
        http1::Builder::new().handshake(TokioIo::new(connection)).await.map_err(SendFault::Broken)?;
    tokio::task::spawn_local(async move {
        // Its failures reach the request that waits on it.
        let _ = connection.await;
    });
    Ok(sender)
}
