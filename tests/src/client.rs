//! A caller: HTTP/1.1 by hyper, one connection for each request, nothing hidden.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::{net::TcpStream, task::JoinHandle};

/// Longer than anything that a test waits for on purpose.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Sends requests to one address, with the same headers each time.
#[derive(Debug, Clone)]
pub struct Client {
    port: u16,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Why the body broke off, when it did.
    pub broken: Option<String>,
}

/// An answer whose body still comes. Dropping it closes the connection.
pub struct Stream {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Client {
    pub fn new(port: u16) -> Self {
        Self { port, headers: Vec::new() }
    }

    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn with_bearer(self, credential: &str) -> Self {
        self.with_header("authorization", &format!("Bearer {credential}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await.whole().await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await.whole().await
    }

    /// For bodies that are no JSON.
    pub async fn post_raw(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, body).await.whole().await
    }

    pub async fn stream(&self, path: &str, body: &Value) -> Stream {
        self.send(Method::POST, path, body.to_string()).await
    }

    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Stream {
        self.try_send(method, path, body).await.expect("the gateway answers")
    }

    /// # Errors
    ///
    /// When no answer came.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Stream, String> {
        let send = async {
            let stream =
                TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|error| error.to_string())?;
            let _ = stream.set_nodelay(true);
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            let connection = tokio::spawn(async move {
                let _ = connection.await;
            });
            let mut request = Request::builder().method(method).uri(path);
            if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
                request = request.header("host", format!("127.0.0.1:{}", self.port));
            }
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let request = request.body(Full::new(body.into())).map_err(|error| error.to_string())?;
            let (head, body) =
                sender.send_request(request).await.map_err(|error| error.to_string())?.into_parts();
            Ok(Stream { status: head.status, headers: head.headers, body, connection })
        };
        tokio::time::timeout(PATIENCE, send).await.map_err(|_| "no answer in time".to_owned())?
    }
}

impl Stream {
    /// The next piece as it comes off the wire; `None` at a clean end.
    ///
    /// # Errors
    ///
    /// When the body broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame =
                tokio::time::timeout(PATIENCE, self.body.frame()).await.map_err(|_| "no piece in time")?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    pub async fn whole(mut self) -> Answer {
        let mut body = Vec::new();
        let broken = loop {
            match self.next().await {
                Ok(Some(data)) => body.extend_from_slice(&data),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        Answer { status: self.status, headers: std::mem::take(&mut self.headers), body: body.into(), broken }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
