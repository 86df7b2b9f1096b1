//! A loopback listener and the HTTP/1.1 server on it, shared by the engine and the issuer.

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, error::Error, io, net::IpAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Connections served at once; the next one waits in the kernel's queue. Far above the few per core that a gateway
/// keeps open, and 1024 idle connections cost about 20 MB.
const MAX_CONNECTIONS: usize = 1024;

/// Pause after `accept` failed. It fails for good reasons only when file descriptors ran out, which asking again at
/// once would not cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0} is not a loopback address; a demo listens on 127.0.0.1 or ::1 only")]
    NotLoopback(IpAddr),
    #[error("cannot listen on {host} port {port}")]
    Io { host: IpAddr, port: u16, source: io::Error },
}

/// Listens on a loopback address; port 0 takes a free one.
///
/// # Errors
/// Any address that other machines can reach, and a port that is taken.
pub async fn bind(host: IpAddr, port: u16) -> Result<TcpListener, BindError> {
    if !host.is_loopback() {
        return Err(BindError::NotLoopback(host));
    }
    TcpListener::bind((host, port)).await.map_err(|source| BindError::Io { host, port, source })
}

/// Serves until it is dropped; dropping it ends the connections too.
pub(crate) async fn serve<H, F, B>(listener: TcpListener, handle: H) -> Infallible
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(stream, handle.clone()));
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// How a connection ended is its client's business: nothing is reported.
async fn serve_connection<H, F, B>(stream: TcpStream, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it each small chunk waits up to 40 ms for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| {
        let response = handle(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let _ended =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}
