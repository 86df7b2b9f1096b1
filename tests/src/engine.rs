//! An engine that does what the test says, byte by byte.

use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
};

/// What the engine does with a request.
#[derive(Debug, Clone)]
pub enum Script {
    /// One answer in one piece.
    Json(u16, Value),
    /// A head with this content type, then the steps.
    Stream(&'static str, Vec<Step>),
    /// The steps alone: whatever the test wants on the wire.
    Raw(Vec<Step>),
    /// A chat's answer that says what the last message said; an empty list to what has no messages.
    Echo,
    /// One for those who ask for a stream, another for the rest.
    AsAsked { stream: Box<Script>, whole: Box<Script> },
}

#[derive(Debug, Clone)]
pub enum Step {
    /// One chunk of a chunked body, sent and flushed.
    Chunk(Bytes),
    /// Bytes as they are.
    Bytes(Bytes),
    /// Waits until [`Engine::go_on`] gives leave.
    Wait,
    Sleep(Duration),
    /// The end of a chunked body.
    End,
    /// Closes the connection.
    Close,
    /// Closes it with RST.
    Reset,
}

/// A request as the engine saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, Vec<String>>,
    pub body: Vec<u8>,
}

/// Keeps running until it is dropped.
pub struct Engine {
    pub port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    leave: Semaphore,
    /// Connections that the other side closed while an answer was on its way.
    abandoned: AtomicUsize,
    abandoned_bell: Notify,
}

impl Script {
    fn steps(self, seen: &Seen) -> Vec<Step> {
        match self {
            Self::Json(status, body) => {
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                vec![Step::Bytes(format!("{head}{body}").into())]
            }
            Self::Stream(content_type, steps) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
                );
                std::iter::once(Step::Bytes(head.into())).chain(steps).collect()
            }
            Self::Raw(steps) => steps,
            Self::Echo => {
                let asked: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
                let last = asked["messages"].as_array().and_then(|messages| messages.last());
                let answer = match last {
                    Some(message) => {
                        let mut answer = samples::openai_chat_body(1, 1);
                        answer["choices"][0]["message"]["content"] = message["content"].clone();
                        answer
                    }
                    None => json!({"models": []}),
                };
                Self::Json(200, answer).steps(seen)
            }
            Self::AsAsked { stream, .. } if seen.json()["stream"] == true => stream.steps(seen),
            Self::AsAsked { whole, .. } => whole.steps(seen),
        }
    }
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the engine gets JSON")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|values| values.first()).map(String::as_str)
    }
}

impl Engine {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            leave: Semaphore::new(0),
            abandoned: AtomicUsize::new(0),
            abandoned_bell: Notify::new(),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(stream, Arc::clone(&shared)));
                }
            }
        });
        Self { port, shared, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, script: Script) {
        *self.shared.script.lock().expect("not poisoned") = script;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("not poisoned").clone()
    }

    /// Taken since the start.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Lets this many waits pass.
    pub fn go_on(&self, waits: usize) {
        self.shared.leave.add_permits(waits);
    }

    pub fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }

    /// Until the caller of an answer in progress has gone.
    pub async fn wait_abandoned(&self, patience: Duration) {
        let waited = tokio::time::timeout(patience, async {
            while self.abandoned() == 0 {
                self.shared.abandoned_bell.notified().await;
            }
        });
        waited.await.expect("the engine is told that nobody waits any more");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer).await {
        let script = shared.script.lock().expect("not poisoned").clone();
        let steps = script.steps(&seen);
        shared.seen.lock().expect("not poisoned").push(seen);
        if !play(&mut stream, &steps, &shared).await {
            return;
        }
    }
}

/// Whether the connection may go on.
async fn play(stream: &mut TcpStream, steps: &[Step], shared: &Shared) -> bool {
    for step in steps {
        let written = match step {
            Step::Chunk(data) => {
                let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
                chunk.extend_from_slice(data);
                chunk.extend_from_slice(b"\r\n");
                stream.write_all(&chunk).await
            }
            Step::Bytes(data) => stream.write_all(data).await,
            Step::End => stream.write_all(b"0\r\n\r\n").await,
            Step::Wait => match until_gone(stream, shared.leave.acquire()).await {
                Some(permit) => {
                    permit.expect("never closed").forget();
                    Ok(())
                }
                None => Err(std::io::ErrorKind::ConnectionReset.into()),
            },
            Step::Sleep(duration) => match until_gone(stream, tokio::time::sleep(*duration)).await {
                Some(()) => Ok(()),
                None => Err(std::io::ErrorKind::ConnectionReset.into()),
            },
            Step::Close => return false,
            Step::Reset => {
                let _ = stream.set_zero_linger();
                return false;
            }
        };
        if written.is_err() {
            shared.abandoned.fetch_add(1, Ordering::SeqCst);
            shared.abandoned_bell.notify_one();
            return false;
        }
    }
    true
}

/// `None` when the other side closed first.
async fn until_gone<T>(stream: &TcpStream, wait: impl Future<Output = T>) -> Option<T> {
    let gone = async {
        loop {
            let mut byte = [0];
            match stream.peek(&mut byte).await {
                Ok(0) | Err(_) => return,
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::select! {
        value = wait => Some(value),
        () = gone => None,
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next()?.split(' ');
    let (method, target) = (request_line.next()?.to_owned(), request_line.next()?.to_owned());
    let mut headers: HashMap<String, Vec<String>> = HashMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    let length: usize =
        headers.get("content-length").map_or(Some(0), |values| values.first()?.parse().ok())?;
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    Some(Seen { method, target, headers, body })
}

/// How many of the samples' tokens (`t0 `, `t1 `, …) are in a text.
pub fn tokens(text: &str) -> usize {
    let is_token = |at: usize| text[at + 2..].starts_with(|c: char| c.is_ascii_digit());
    text.match_indices("\"t").filter(|(at, _)| is_token(*at)).count()
}

/// Answers as engines give them.
pub mod samples {
    use super::{Bytes, Script, Step, Value, json};

    pub fn openai_chat(input: u64, output: u64) -> Script {
        Script::Json(200, openai_chat_body(input, output))
    }

    pub fn openai_chat_body(input: u64, output: u64) -> Value {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "tiny",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
        })
    }

    pub fn ollama_chat(input: u64, output: u64) -> Script {
        Script::Json(
            200,
            json!({
                "model": "tiny", "created_at": "2026-01-01T00:00:00Z",
                "message": {"role": "assistant", "content": "hi"}, "done": true, "done_reason": "stop",
                "prompt_eval_count": input, "eval_count": output,
            }),
        )
    }

    /// Chunks of a chat stream of `output` tokens, the usage event before the end marker.
    pub fn openai_chunks(input: u64, output: u64) -> Vec<Bytes> {
        let event = |value: Value| Bytes::from(format!("data: {value}\n\n"));
        let chunk = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": choices});
        let mut chunks: Vec<Bytes> = (0..output)
            .map(|n| event(chunk(json!([{"index": 0, "delta": {"role": "assistant", "content": format!("t{n} ")}, "finish_reason": null}]))))
            .collect();
        chunks.push(event(chunk(json!([{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]))));
        let mut usage = chunk(json!([]));
        usage["usage"] =
            json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
        chunks.push(event(usage));
        chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
        chunks
    }

    pub fn ollama_chunks(input: u64, output: u64) -> Vec<Bytes> {
        let line = |value: Value| Bytes::from(format!("{value}\n"));
        let mut chunks: Vec<Bytes> = (0..output)
            .map(|n| {
                line(json!({"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": format!("t{n} ")}, "done": false}))
            })
            .collect();
        chunks.push(line(json!({
            "model": "tiny", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": ""},
            "done": true, "done_reason": "stop", "prompt_eval_count": input, "eval_count": output,
        })));
        chunks
    }

    pub fn anthropic_chunks(input: u64, output: u64) -> Vec<Bytes> {
        let event = |value: Value| {
            Bytes::from(format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or_default()))
        };
        let mut chunks = vec![
            event(
                json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "tiny", "content": [], "stop_reason": null, "usage": {"input_tokens": input, "output_tokens": 0}}}),
            ),
            event(
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ),
        ];
        chunks.extend((0..output).map(|n| {
            event(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": format!("t{n} ")}}))
        }));
        chunks.push(event(json!({"type": "content_block_stop", "index": 0})));
        chunks.push(event(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": input, "output_tokens": output}})));
        chunks.push(event(json!({"type": "message_stop"})));
        chunks
    }

    pub fn stream(content_type: &'static str, chunks: Vec<Bytes>) -> Script {
        Script::Stream(content_type, chunks.into_iter().map(Step::Chunk).chain([Step::End]).collect())
    }

    pub fn openai_stream(input: u64, output: u64) -> Script {
        stream("text/event-stream", openai_chunks(input, output))
    }

    pub fn ollama_stream(input: u64, output: u64) -> Script {
        stream("application/x-ndjson", ollama_chunks(input, output))
    }

    pub fn anthropic_stream(input: u64, output: u64) -> Script {
        stream("text/event-stream", anthropic_chunks(input, output))
    }
}
