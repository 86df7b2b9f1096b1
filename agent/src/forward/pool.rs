//! Connections to engines: one small pool per core, last in first out, HTTP/1.1 only.

use super::{
    body::EngineRequestBody,
    link::{EngineBody, Link},
    upload::UploadFault,
};
use crate::{
    dial::{DialError, dial},
    snapshot::Engine,
};
use foldhash::HashMap;
use http::{Request, Response, response};
use hyper::body::Incoming;
use rustls::ClientConfig;
use std::{
    cell::RefCell,
    error::Error as _,
    io::{self, ErrorKind},
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
    link: Link,
    since: Instant,
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
        request: impl Fn() -> Request<EngineRequestBody>,
    ) -> Result<(response::Parts, EngineBody), SendFault> {
        if let Some(mut link) = self.take_idle(&engine.origin) {
            let sent = Instant::now();
            match link.send(request()).await {
                Ok(response) => {
                    let (head, incoming) = response.into_parts();
                    return Ok((head, EngineBody::new(incoming, link, self.clone(), engine)));
                }
                Err(mut failed) => {
                    let was_not_sent = failed.take_message().is_some();
                    let error = failed.into_error();
                    let was_closing = !link.has_heard() && is_closed(&error) && sent.elapsed() < CLOSING;
                    if !was_not_sent && !was_closing {
                        return Err(SendFault::Broken(error));
                    }
                }
            }
        }
        // Boxed: it is rare, and would make each request's future larger.
        Box::pin(self.send_on_new(engine, request())).await
    }

    async fn send_on_new(
        &self,
        engine: &Engine,
        request: Request<EngineRequestBody>,
    ) -> Result<(response::Parts, EngineBody), SendFault> {
        let upstream = &engine.upstream;
        let connection = dial(&upstream.url, upstream.timeouts.connect, &self.tls).await?;
        let mut link = Link::new(connection).await.map_err(SendFault::Broken)?;
        let answer = link.send(request).await;
        let (head, incoming) = answer.map_err(|failed| SendFault::Broken(failed.into_error()))?.into_parts();
        Ok((head, EngineBody::new(incoming, link, self.clone(), engine)))
    }

    /// Sends on a new connection, whatever `send` does to it: what can be sent once only meets none that is just closing.
    pub(super) async fn send_once(
        &self,
        engine: &Engine,
        send: impl AsyncFnOnce(&mut Link) -> Result<Response<Incoming>, UploadFault>,
    ) -> Result<(response::Parts, EngineBody), UploadFault> {
        let upstream = &engine.upstream;
        let connection = dial(&upstream.url, upstream.timeouts.connect, &self.tls).await;
        let connection = connection.map_err(UploadFault::Dial)?;
        let mut link = Link::new(connection).await.map_err(UploadFault::Broken)?;
        let (head, incoming) = send(&mut link).await?.into_parts();
        Ok((head, EngineBody::new(incoming, link, self.clone(), engine)))
    }

    fn take_idle(&self, origin: &str) -> Option<Link> {
        let mut pool = self.idle.borrow_mut();
        let idle = pool.get_mut(origin)?;
        loop {
            let Idle { mut link, since } = idle.pop()?;
            if since.elapsed() < MAX_IDLE && link.is_ready() {
                return Some(link);
            }
        }
    }

    /// Whether it can serve again is looked at when it is taken.
    pub(super) fn take_back(&self, origin: Arc<str>, link: Link) {
        let mut pool = self.idle.borrow_mut();
        let idle = pool.entry(origin).or_default();
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain_mut(|idle| idle.since.elapsed() < MAX_IDLE && idle.link.is_ready());
            !idle.is_empty()
        });
    }
}

fn is_closed(error: &hyper::Error) -> bool {
    // A request that meets a connection which was closed a moment ago is answered with a reset.
    let is_reset =
        |error: &io::Error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    error.is_canceled()
        || error.is_closed()
        || error.is_incomplete_message()
        || error.source().and_then(|source| source.downcast_ref()).is_some_and(is_reset)
}
