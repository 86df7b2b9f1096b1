//! Small exchanges by HTTP: the documents that a bundle names, and what an identity provider is asked.

use crate::dial::{DialError, dial};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{task::AbortHandle, time::timeout};
use url::{Position, Url};

/// From the first packet to the last byte. Envoy gives a key fetch 5 s by default as well, and it is as long as a
/// request waits for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A set of 100 RSA keys of 8192 bits with their certificates is about 600 KiB; nothing that we fetch is larger.
const MAX_BODY_BYTES: usize = 1024 * 1024;

const USER_AGENT: &str = concat!("attach-gateway/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the address cannot stand in a request: {0}")]
    Address(#[from] http::Error),
    #[error("the exchange broke off: {0}")]
    Exchange(#[from] hyper::Error),
    /// Redirects are among them: where they lead is not what was configured.
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    #[error("the body is encoded as {0:?}, which was not asked for")]
    Encoded(String),
    #[error("the body is longer than {MAX_BODY_BYTES} bytes")]
    TooLong,
    #[error("no whole answer within {0:?}")]
    TimedOut(Duration),
}

/// The body of the 200 answer to a GET of `url`, on a connection of its own: no pool, no redirects, no proxy.
///
/// # Errors
/// Anything but a whole 200 answer within [`FETCH_TIMEOUT`] and [`MAX_BODY_BYTES`].
pub(crate) async fn fetch(url: &Url, tls: &Arc<ClientConfig>) -> Result<Bytes, FetchError> {
    let request = Request::get("/").header(header::ACCEPT, "application/json").body(Full::default())?;
    let response = exchange(url, request, FETCH_TIMEOUT, tls).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    Ok(response.into_body())
}

/// The whole answer to a request, whatever its status; on a connection of its own as well. The request's address and
/// `Host` are `url`.
///
/// # Errors
/// No whole answer within `longest` and [`MAX_BODY_BYTES`].
pub(crate) async fn exchange(
    url: &Url,
    request: Request<Full<Bytes>>,
    longest: Duration,
    tls: &Arc<ClientConfig>,
) -> Result<Response<Bytes>, FetchError> {
    let exchange = exchange_on_a_connection(url, request, longest, tls);
    timeout(longest, exchange).await.unwrap_or(Err(FetchError::TimedOut(longest)))
}

async fn exchange_on_a_connection(
    url: &Url,
    mut request: Request<Full<Bytes>>,
    longest: Duration,
    tls: &Arc<ClientConfig>,
) -> Result<Response<Bytes>, FetchError> {
    let connection = dial(url, longest, tls).await?;
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let _driver = AbortOnDrop(tokio::spawn(driver).abort_handle());
    let text = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
    *request.uri_mut() =
        url[Position::BeforePath..Position::AfterQuery].parse().map_err(http::Error::from)?;
    request.headers_mut().insert(header::HOST, text(&url[Position::BeforeHost..Position::AfterPort])?);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let response = sender.send_request(request).await?;
    if let Some(encoding) = response.headers().get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(FetchError::Encoded(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    let (head, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if read.len() + data.len() > MAX_BODY_BYTES {
                return Err(FetchError::TooLong);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(Response::from_parts(head, read.freeze()))
}

/// The connection ends with the exchange, also when the server would keep it open or never finishes.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
