//! A caller that keeps its connection, as one with many requests does.

use crate::{Answer, client::PATIENCE};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

/// Dropping it closes the connection.
pub struct Kept {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl Kept {
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { sender, connection }
    }

    /// One chat.
    pub async fn chat(&mut self, token: &str) -> Answer {
        let request = Request::post("/v1/chat/completions")
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        let body = Bytes::from_static(br#"{"model":"tiny","max_tokens":5,"messages":[]}"#);
        let request = request.body(Full::new(body)).expect("a request");
        let whole = async {
            self.sender.ready().await.expect("the connection stays open");
            let (head, body) = self.sender.send_request(request).await.expect("an answer").into_parts();
            let body = body.collect().await.expect("a whole answer").to_bytes();
            Answer { status: head.status, headers: head.headers, body, broken: None }
        };
        tokio::time::timeout(PATIENCE, whole).await.expect("an answer in time")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
