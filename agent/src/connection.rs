//! One connection of a caller, from its first byte to its last, by HTTP/1 or HTTP/2.

use crate::{
    answer::AnswerBody,
    front::{Frames, Front, Given},
    metrics::Metrics,
    peer::{Fate, Peer},
    pipeline::{Arrival, Pipeline},
    tls::ClientCertificate,
};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
};

/// What hyper may hold of what it reads and writes, a connection. A head fits in half of it, and a piece of an answer in
/// whole: more would only let an engine run ahead of its caller.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// Requests at a time by one connection of HTTP/2. Browsers want 100; a proxy opens another connection.
const MAX_STREAMS: u32 = 128;

/// A head, unpacked; as much as by HTTP/1. It bounds the frames that a head may be spread over, too.
const MAX_HEADER_LIST_BYTES: u32 = 32 << 10;

/// Streams that the caller took back before they were looked at, and those that we had to. Beyond it the connection ends:
/// to open and reset streams costs the caller nothing (CVE-2023-44487, CVE-2025-8671).
const MAX_RESET_STREAMS: usize = 32;

/// What may be on its way to us of one body, and of all on one connection, before somebody reads it: 20 Mbit/s over 100 ms.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;

/// Who is at the other end.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    /// That it presented in the handshake.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

/// Serves one request after another.
pub(crate) async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: Peer,
    caller: Caller,
    pipeline: Rc<Pipeline>,
) {
    let _counted = Counted::new(&pipeline.metrics);
    let refuse = {
        let (pipeline, address) = (Rc::clone(&pipeline), caller.address);
        move |fault| pipeline.refuse_unread(fault, address)
    };
    let front = Front::new(stream, peer.clone(), refuse);
    let given = front.given();
    let connection = http1::Builder::new()
        // `Peers` looks after that.
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(front), service(&pipeline, &peer, caller, Some(given.clone())));
    let connection = pin!(connection);
    run(connection, &peer, || given.is_last()).await;
}

/// Serves many requests at a time. Each is a task: what one waits for does not keep the others.
pub(crate) async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: Peer,
    caller: Caller,
    pipeline: Rc<Pipeline>,
) {
    let _counted = Counted::new(&pipeline.metrics);
    peer.has_streams();
    let frames = Frames::new(stream, peer.clone());
    let connection = http2::Builder::new(OnThisCore)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_RESET_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(frames), service(&pipeline, &peer, caller, None));
    let connection = pin!(connection);
    run(connection, &peer, || false).await;
}

fn service(
    pipeline: &Rc<Pipeline>,
    peer: &Peer,
    caller: Caller,
    given: Option<Given>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<AnswerBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<AnswerBody>, Infallible>> + 'static,
> {
    let (pipeline, peer) = (Rc::clone(pipeline), peer.clone());
    service_fn(move |mut request: Request<Incoming>| {
        if let Some(certificate) = &caller.certificate {
            request.extensions_mut().insert(Arc::clone(certificate));
        }
        let pipeline = Rc::clone(&pipeline);
        let in_progress = peer.begin();
        let arrival = Arrival { address: caller.address, given: given.clone() };
        async move {
            let answer = pipeline.serve(request, &arrival).await;
            Ok(answer.map(|body| body.counted(in_progress)))
        }
    })
}

/// A connection that can be told to take no more requests.
trait Graceful: Future {
    fn take_no_more(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = AnswerBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    fn take_no_more(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Graceful for http2::Connection<I, S, OnThisCore>
where
    S: hyper::service::HttpService<Incoming, ResBody = AnswerBody>,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    fn take_no_more(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn run<C: Graceful>(mut connection: Pin<&mut C>, peer: &Peer, is_last: impl Fn() -> bool) {
    let mut is_leaving = false;
    let poll = |connection: Pin<&mut C>, context: &mut Context<'_>| connection.poll(context).map(drop);
    poll_fn(|context| {
        match peer.fate(context) {
            Fate::Stay => {}
            Fate::Leave if is_leaving => {}
            Fate::Leave => {
                is_leaving = true;
                connection.as_mut().take_no_more();
            }
            Fate::Gone => return Poll::Ready(()),
        }
        // How a caller's connection ends is no event of ours: its requests tell their own story.
        let polled = poll(connection.as_mut(), context);
        if polled.is_pending() && !is_leaving && is_last() {
            is_leaving = true;
            connection.as_mut().take_no_more();
            return poll(connection.as_mut(), context);
        }
        polled
    })
    .await;
}

/// Streams stay on the core of their connection.
#[derive(Clone, Copy)]
struct OnThisCore;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisCore {
    fn execute(&self, stream: F) {
        spawn_local(stream);
    }
}

struct Counted(prometheus_client::metrics::gauge::Gauge);

impl Counted {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.connections.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
