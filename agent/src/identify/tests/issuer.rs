//! An OpenID issuer on a real socket, that can be told to rotate, hang, lie, drip, talk nonsense and go away.

use super::mint::TestKey;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::sleep,
};

pub(super) struct TestIssuer {
    pub(super) url: String,
    address: String,
    script: Arc<Mutex<Script>>,
    serving: Option<AbortHandle>,
}

struct Script {
    metadata: Answer,
    keys: Answer,
    metadata_requests: usize,
    key_requests: usize,
    last_request: String,
}

#[derive(Clone)]
pub(super) enum Answer {
    Json(Value),
    /// Exactly these bytes, then the end of the connection.
    Raw(Vec<u8>),
    Slow(Duration, Value),
    /// The head of a good answer, then a byte of it now and then.
    Drip,
    Hang,
}

impl TestIssuer {
    pub(super) async fn start(keys: &[&TestKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let url = format!("http://{address}");
        let script = Script {
            metadata: Answer::Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys")})),
            keys: Answer::Json(jwks(keys)),
            metadata_requests: 0,
            key_requests: 0,
            last_request: String::new(),
        };
        let mut issuer = Self { url, address, script: Arc::new(Mutex::new(script)), serving: None };
        issuer.serve(listener);
        issuer
    }

    fn serve(&mut self, listener: TcpListener) {
        let script = Arc::clone(&self.script);
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(answer(stream, Arc::clone(&script)));
            }
        });
        self.serving = Some(serving.abort_handle());
    }

    pub(super) async fn go_down(&mut self) {
        self.serving.take().unwrap().abort();
        while TcpStream::connect(&self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn come_back(&mut self) {
        let listener = TcpListener::bind(&self.address).await.unwrap();
        self.serve(listener);
    }

    pub(super) fn publish(&self, keys: &[&TestKey]) {
        self.answer_keys(Answer::Json(jwks(keys)));
    }

    pub(super) fn answer_keys(&self, answer: Answer) {
        self.script.lock().keys = answer;
    }

    pub(super) fn answer_metadata(&self, answer: Answer) {
        self.script.lock().metadata = answer;
    }

    pub(super) fn key_requests(&self) -> usize {
        self.script.lock().key_requests
    }

    pub(super) fn requests(&self) -> usize {
        let script = self.script.lock();
        script.key_requests + script.metadata_requests
    }

    pub(super) fn last_request(&self) -> String {
        self.script.lock().last_request.clone()
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

pub(super) fn jwks(keys: &[&TestKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

pub(super) fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn answer(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let answer = {
        let mut script = script.lock();
        script.last_request.clone_from(&request);
        if request.starts_with("GET /.well-known/openid-configuration ") {
            script.metadata_requests += 1;
            script.metadata.clone()
        } else {
            script.key_requests += 1;
            script.keys.clone()
        }
    };
    let bytes = match answer {
        Answer::Json(value) => http("200 OK", "", value.to_string().as_bytes()),
        Answer::Raw(bytes) => bytes,
        Answer::Slow(time, value) => {
            sleep(time).await;
            http("200 OK", "", value.to_string().as_bytes())
        }
        Answer::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
            while stream.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
            return;
        }
        Answer::Hang => {
            sleep(Duration::from_secs(60)).await;
            return;
        }
    };
    // The other side may have gone away first; that is for the test to see.
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}
