//! hyper behind the front, as `connection` puts it there, over a socket that is a list of pieces.

use super::super::{Fault, Front, check};
use crate::peer::{InProgress, Peer, Peers};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    future::Future as _,
    io,
    os::unix::net::UnixStream,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What became of a connection.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) seen: Vec<Seen>,
    /// Why the front let no more through.
    pub(super) refused: Option<Fault>,
}

/// A request as it came out of hyper.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    /// Sorted by name.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// `None` when it broke off.
    pub(super) body: Option<Bytes>,
    pub(super) verdict: Result<(), Fault>,
}

/// Serves a connection on which these pieces come, each when the one before was looked at, and then the end.
pub(super) fn serve(pieces: Vec<Vec<u8>>) -> Served {
    // Each piece may take several looks: it is read, served and answered.
    let mut looks = 16 * (pieces.len() + 8);
    let peer = peer();
    let refused = Rc::new(Cell::new(None));
    let refuse = {
        let refused = Rc::clone(&refused);
        move |fault| {
            refused.set(Some(fault));
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()
        }
    };
    let socket = Pieces { left: pieces.into(), has_paused: false };
    let front = Front::new(socket, peer.clone(), refuse);
    let given = front.given();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let verdict = check(&request, Some(&given));
        let in_progress = peer.begin();
        let seen = Rc::clone(&seen);
        async move {
            let request = see(request, verdict).await;
            seen.borrow_mut().push(request);
            Ok::<_, Infallible>(Response::new(Answer { body: Full::from("ok"), _in_progress: in_progress }))
        }
    });
    let connection =
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(front), service);
    let mut connection = pin!(connection);
    let mut is_leaving = false;
    while connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        if given.is_last() && !is_leaving {
            is_leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        looks -= 1;
        assert!(looks > 0, "the connection does not end");
    }
    Served { seen: seen.take(), refused: refused.get() }
}

/// Of a socket on which nothing comes.
fn peer() -> Peer {
    thread_local! {
        static SOCKET: (UnixStream, UnixStream) = UnixStream::pair().unwrap();
    }
    SOCKET.with(|(near, _)| Peers::default().enter(near).unwrap())
}

async fn see(request: Request<Incoming>, verdict: Result<(), Fault>) -> Seen {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    Seen {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers,
        body: body.collect().await.ok().map(|body| body.to_bytes()),
        verdict,
    }
}

/// In progress until it is out.
struct Answer {
    body: Full<Bytes>,
    _in_progress: InProgress,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Pieces {
    left: VecDeque<Vec<u8>>,
    /// Between two pieces nothing comes for a while.
    has_paused: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.has_paused = !self.has_paused;
        if self.has_paused {
            return Poll::Pending;
        }
        let Some(mut piece) = self.left.pop_front() else { return Poll::Ready(Ok(())) };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            self.left.push_front(rest);
            self.has_paused = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
