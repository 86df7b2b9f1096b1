//! The port on which the authority finds the answers to HTTP-01. It serves nothing else, and sends nobody elsewhere.

use super::{AcmeError, challenges::Challenges};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    time::Duration,
};
use tokio::{net::TcpStream, task::JoinSet};

/// RFC 8555 section 8.3.
const PATH: &str = "/.well-known/acme-challenge/";

/// The authority looks from a handful of places; all else is the noise of the internet. Who comes next waits.
const MAX_CONNECTIONS: usize = 64;

/// For all of a connection. The authority sends one request of 300 bytes.
const CONNECTION: Duration = Duration::from_secs(10);

/// hyper's least.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// After running out of file descriptors, time for some to be closed.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Http01 {
    listener: TcpListener,
    challenges: Challenges,
}

impl Http01 {
    pub(crate) fn bind(address: SocketAddr, challenges: Challenges) -> Result<Self, AcmeError> {
        let failed = |cause| AcmeError::Listen { address, cause };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener, challenges })
    }

    /// Runs until it is dropped, and with it all connections.
    pub(crate) async fn run(self) {
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("the authority for certificates finds nobody on --acme-http-port: {error}");
                return;
            }
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(tokio::time::timeout(CONNECTION, serve(stream, self.challenges.clone())));
                    }
                    Err(error) => {
                        tracing::warn!("a connection on --acme-http-port could not be accepted: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn serve(stream: TcpStream, challenges: Challenges) {
    let service = service_fn(|request| {
        let answer = answer(&request, &challenges);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        // The whole connection has a time.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // How it ends is no event of ours.
    let _ = connection.await;
}

fn answer(request: &Request<Incoming>, challenges: &Challenges) -> Response<Full<Bytes>> {
    let token = request.uri().path().strip_prefix(PATH).filter(|_| request.method() == Method::GET);
    let Some(answer) = token.and_then(|token| challenges.of_token(token)) else {
        let mut nothing = Response::new(Full::default());
        *nothing.status_mut() = StatusCode::NOT_FOUND;
        return nothing;
    };
    let mut response = Response::new(Full::from(answer));
    // RFC 8555 section 8.3.
    let content_type = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
