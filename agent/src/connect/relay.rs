//! One connection of a program, and the one to the gateway that goes with it.

use super::{
    Credential,
    answer::{Body, refusal},
    credential::NoCredential,
    guard::check,
};
use crate::{
    dial::{DialError, dial},
    hop_by_hop::{connection_listed, crosses},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    request::Parts, uri::PathAndQuery,
};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::{cell::RefCell, convert::Infallible, rc::Rc, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::task::AbortHandle;
use url::{Position, Url};

/// Across the world and back, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// A body up to this is read whole, so that it can be sent again after a 401: a chat with a few photographs. A longer one
/// passes as it comes.
const MAX_RESENT_BYTES: u64 = 8 << 20;

/// The program's own idea of a credential; and what a browser said of its page, which was looked at here.
static NOT_FOR_THE_GATEWAY: [HeaderName; 7] = [
    header::HOST,
    header::AUTHORIZATION,
    header::COOKIE,
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

/// Where requests go.
pub(crate) struct Gateway {
    url: Url,
    host: HeaderValue,
    tls: Arc<ClientConfig>,
}

pub(super) struct Relay {
    shared: Rc<(Gateway, Credential)>,
    /// The one that this side listens on.
    port: u16,
    link: RefCell<Option<Link>>,
}

struct Link {
    sender: SendRequest<Body>,
    driver: AbortHandle,
}

#[derive(Debug, Error)]
enum Broken {
    #[error("the gateway cannot be reached: {0}")]
    Dial(#[from] DialError),
    #[error("the gateway broke off: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("there is no credential: {0}")]
    Credential(#[from] NoCredential),
    #[error("the request cannot be forwarded: {0}")]
    Request(String),
}

impl Gateway {
    /// # Errors
    /// What is no HTTP address.
    pub(crate) fn new(url: &Url, tls: Arc<ClientConfig>) -> Result<Self, String> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("must be http://HOST:PORT or https://HOST".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must have no user and password in it".to_owned());
        }
        let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
        let host = host.map_err(|error| error.to_string())?;
        Ok(Self { url: url.clone(), host, tls })
    }

    /// A path of the program below the gateway's own.
    fn target(&self, path: Option<&PathAndQuery>) -> Result<Uri, Broken> {
        let below = path.map_or("/", PathAndQuery::as_str);
        let target = format!("{}{below}", self.url.path().trim_end_matches('/'));
        target.parse().map_err(|error: http::uri::InvalidUri| Broken::Request(error.to_string()))
    }
}

impl Relay {
    pub(super) fn new(shared: Rc<(Gateway, Credential)>, port: u16) -> Self {
        Self { shared, port, link: RefCell::new(None) }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        if let Err(stranger) = check(&request, self.port) {
            return Ok(refusal(StatusCode::FORBIDDEN, &path, &stranger.to_string()));
        }
        if request.method() == Method::CONNECT {
            let message = "this is no proxy for other servers";
            return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, &path, message));
        }
        let answered = self.forward(request).await;
        Ok(answered.unwrap_or_else(|broken| {
            let status = match &broken {
                Broken::Credential(_) => StatusCode::UNAUTHORIZED,
                Broken::Request(_) => StatusCode::BAD_REQUEST,
                Broken::Dial(_) | Broken::Exchange(_) => StatusCode::BAD_GATEWAY,
            };
            refusal(status, &path, &format!("attach-gateway connect: {broken}"))
        }))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let (gateway, credential) = &*self.shared;
        let (head, body) = request.into_parts();
        let body = body_of(body).await?;
        let header = credential.header(None).await?;
        let again = match &body {
            Either::Left(whole) => Some(whole.clone()),
            Either::Right(_) => None,
        };
        let response = self.send(outgoing(&head, gateway, body, &header)?).await?;
        let (StatusCode::UNAUTHORIZED, Some(whole)) = (response.status(), again) else {
            return Ok(incoming(response));
        };
        let renewed = match credential.header(Some(&header)).await {
            Ok(renewed) => renewed,
            // A key is what it is: the gateway's own words say more.
            Err(NoCredential::Key) => return Ok(incoming(response)),
            Err(error) => return Err(error.into()),
        };
        let response = self.send(outgoing(&head, gateway, Either::Left(whole), &renewed)?).await?;
        Ok(incoming(response))
    }

    /// On the connection that is there, or a new one when the gateway has closed it meanwhile.
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Broken> {
        let kept = self.link.borrow_mut().take();
        if let Some(mut link) = kept
            && link.sender.ready().await.is_ok()
        {
            match link.sender.try_send_request(request).await {
                Ok(response) => {
                    self.link.replace(Some(link));
                    return Ok(response);
                }
                // Only what was not sent comes back, so nothing is done twice.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut link = Link::open(&self.shared.0).await?;
        let response = link.sender.send_request(request).await?;
        self.link.replace(Some(link));
        Ok(response)
    }
}

impl Link {
    async fn open(gateway: &Gateway) -> Result<Self, Broken> {
        let connection = dial(&gateway.url, CONNECT, &gateway.tls).await?;
        let (sender, driver) = http1::handshake(TokioIo::new(connection)).await?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Self { sender, driver })
    }
}

impl Drop for Link {
    /// With the program's connection goes the one to the gateway, and with that the engine's work.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn body_of(body: Incoming) -> Result<Body, Broken> {
    if body.size_hint().exact().is_none_or(|bytes| bytes > MAX_RESENT_BYTES) {
        return Ok(Either::Right(body));
    }
    let whole = body.collect().await?;
    Ok(Either::Left(Full::new(whole.to_bytes())))
}

fn outgoing(
    head: &Parts,
    gateway: &Gateway,
    body: Body,
    credential: &HeaderValue,
) -> Result<Request<Body>, Broken> {
    let listed = connection_listed(&head.headers);
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 2);
    for (name, value) in &head.headers {
        let is_metadata = name.as_str().starts_with("sec-fetch-");
        // hyper has answered what was expected, and frames the body itself.
        let is_framing = *name == header::EXPECT || *name == header::CONTENT_LENGTH;
        if crosses(name, &listed) && !NOT_FOR_THE_GATEWAY.contains(name) && !is_metadata && !is_framing {
            headers.append(name, value.clone());
        }
    }
    headers.insert(header::HOST, gateway.host.clone());
    headers.insert(header::AUTHORIZATION, credential.clone());
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = gateway.target(head.uri.path_and_query())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// As it comes, but for what is of the other connection.
fn incoming(response: Response<Incoming>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let listed = connection_listed(&head.headers);
    let leaving: Vec<_> = head.headers.keys().filter(|name| !crosses(name, &listed)).cloned().collect();
    for name in leaving {
        head.headers.remove(name);
    }
    head.version = Version::HTTP_11;
    Response::from_parts(head, Either::Right(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::tls_config;

    #[test]
    fn a_path_is_below_the_gateways_own() {
        for (url, path, target) in [
            ("http://gw.test", "/api/chat?x=1", "/api/chat?x=1"),
            ("http://gw.test/", "/api/chat", "/api/chat"),
            ("https://gw.test/llm", "/api/chat", "/llm/api/chat"),
            ("https://gw.test/llm/", "/", "/llm/"),
        ] {
            let gateway = Gateway::new(&url.parse().unwrap(), tls_config()).unwrap();
            let path: PathAndQuery = path.parse().unwrap();
            assert_eq!(gateway.target(Some(&path)).unwrap(), target);
        }
        for url in ["ftp://gw.test", "http://user:pw@gw.test", "mailto:a@b"] {
            assert!(Gateway::new(&url.parse().unwrap(), tls_config()).is_err(), "{url}");
        }
    }
}
