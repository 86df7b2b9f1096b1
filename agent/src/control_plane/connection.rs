//! One connection to the control plane, for all calls at once.

use super::Address;
use crate::dial::{DialError, dial_tcp};
use attach_proto::enrolment::CONTROL_PLANE_NAME;
use http::{Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier, pki_types::ServerName};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tower::Service;

/// For each of address, TLS and HTTP/2: a few round trips around the world, many times over.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection whose other end vanished without a word is noticed after the two together, also while nothing is sent.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_PATIENCE: Duration = Duration::from_secs(10);

/// To be cloned for each client; it ends with the last of them, or when the control plane ends it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    requests: http2::SendRequest<Body>,
    origin: Uri,
}

#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("no secure connection: {0}")]
    Tls(io::Error),
    #[error("no HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    #[error("its address cannot stand in a request: {0}")]
    Uri(#[from] http::uri::InvalidUri),
    #[error("no word within {HANDSHAKE:?}")]
    Silent,
}

/// TLS 1.3, which both ends of this contract have; what to trust is for the caller to say.
///
/// # Errors
///
/// When the library lacks it, which would be a fault of the build.
pub(crate) fn tls_builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])
}

/// Connects, and checks by `tls` that it is the control plane: by its one name, whatever the address.
///
/// # Errors
///
/// Says which step failed; the caller decides whether to try again.
pub(crate) async fn connect(address: &Address, tls: Arc<ClientConfig>) -> Result<Connection, ConnectError> {
    let origin = Uri::try_from(address.url().as_str())?;
    let stream = dial_tcp(address.url(), HANDSHAKE).await?;
    let name = ServerName::try_from(CONTROL_PLANE_NAME)
        .map_err(|error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let stream = timeout(HANDSHAKE, TlsConnector::from(tls).connect(name, stream)).await;
    let stream = stream.map_err(|_| ConnectError::Silent)?.map_err(ConnectError::Tls)?;
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_PATIENCE)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream));
    let (requests, driver) = timeout(HANDSHAKE, handshake).await.map_err(|_| ConnectError::Silent)??;
    // It ends when the last handle is dropped or the other end is gone; whoever calls then is told.
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "the connection to the control plane broke");
        }
    });
    Ok(Connection { requests, origin })
}

impl Connection {
    /// Whether calls on it can only fail.
    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// What generated clients put before the path of a call.
    pub(crate) fn origin(&self) -> Uri {
        self.origin.clone()
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}
