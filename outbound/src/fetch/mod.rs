//! Small exchanges by HTTP: the documents at the addresses that a bundle names, or that lead on from there; and what an
//! identity provider is asked for a person.

use crate::{
    dial::{Connection, DialError, Guard, dial_guarded},
    resolve::Resolver,
};
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
pub enum FetchError {
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

/// The one client for such addresses. It keeps nothing: each exchange has a connection of its own, without cookies, without
/// a proxy whatever the environment says, and a redirect is an answer like any other that is not 200. So no address is
/// dialled that `guard` was not asked about.
#[derive(Debug, Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    guard: Guard,
    resolver: Resolver,
}

impl Fetcher {
    pub fn new(tls: Arc<ClientConfig>, guard: Guard) -> Self {
        Self { tls, guard, resolver: Resolver::System }
    }

    #[cfg(any(test, feature = "scripted-names"))]
    #[must_use]
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// The body of the 200 answer to a GET of `url`.
    ///
    /// # Errors
    /// Anything but a whole 200 answer within 5 s and 1 MiB, from where the guard lets it lead.
    pub async fn fetch(&self, url: &Url) -> Result<Bytes, FetchError> {
        let request = Request::get("/").header(header::ACCEPT, "application/json").body(Full::default())?;
        let response = self.exchange(url, request, FETCH_TIMEOUT).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        Ok(response.into_body())
    }

    /// The whole answer to a request, whatever its status. The request's address and `Host` are `url`.
    ///
    /// # Errors
    /// No whole answer within `longest` and 1 MiB, from where the guard lets it lead.
    pub async fn exchange(
        &self,
        url: &Url,
        request: Request<Full<Bytes>>,
        longest: Duration,
    ) -> Result<Response<Bytes>, FetchError> {
        let exchange = async {
            let connection = dial_guarded(url, longest, &self.tls, &self.resolver, &self.guard).await?;
            send(url, request, connection).await
        };
        timeout(longest, exchange).await.unwrap_or(Err(FetchError::TimedOut(longest)))
    }
}

async fn send(
    url: &Url,
    mut request: Request<Full<Bytes>>,
    connection: Connection,
) -> Result<Response<Bytes>, FetchError> {
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

#[cfg(test)]
mod tests;
