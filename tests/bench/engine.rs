//! An engine that costs as little as possible: fixed answers, one per request, streamed when the body says so.

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{net::TcpListener, time::Sleep};

/// Tokens of a stream.
pub(crate) const TOKENS: usize = 64;

/// Pause of a paced stream.
const PACE: Duration = Duration::from_millis(5);

pub(crate) fn run(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::task::spawn_local(async move {
                let _ =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
}

async fn answer(
    request: http::Request<Incoming>,
) -> Result<Response<Either<Full<Bytes>, Tokens>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let has = |word: &[u8]| body.windows(word.len()).any(|window| window == word);
    let mut response = Response::builder();
    let body = if has(b"\"stream\":true") {
        response = response.header("content-type", "text/event-stream");
        let pace = has(b"paced").then_some(PACE);
        Either::Right(Tokens { sent: 0, pause: None, pace, has_yielded: false })
    } else {
        response = response.header("content-type", "application/json");
        Either::Left(Full::from(WHOLE))
    };
    Ok(response.body(body).expect("a valid response"))
}

const WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog."},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":10,"total_tokens":22}}"#;
const CHUNK: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"tiny\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}\n\n";
const END: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"tiny\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":64,\"total_tokens\":76}}\n\ndata: [DONE]\n\n";

/// Each token leaves in a write of its own, as from an engine that has just made it.
struct Tokens {
    sent: usize,
    pause: Option<Pin<Box<Sleep>>>,
    pace: Option<Duration>,
    has_yielded: bool,
}

impl Body for Tokens {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pin!(pause).as_mut().poll(context));
        }
        if self.sent > 0 && !std::mem::replace(&mut self.has_yielded, true) {
            // hyper writes what it has when the body has nothing more for the moment.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_yielded = false;
        self.pause = self.pace.map(|pace| Box::pin(tokio::time::sleep(pace)));
        self.sent += 1;
        let text = match self.sent {
            ..=TOKENS => CHUNK,
            sent if sent == TOKENS + 1 => END,
            _ => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}
