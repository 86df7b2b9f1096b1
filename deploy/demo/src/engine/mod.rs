//! The demo engine: an HTTP server in front of [`model`], with the routes, shapes and errors of Ollama's server
//! (0.17) in its own dialect, OpenAI's and Anthropic's. It ends a generation when its client leaves.
//!
//! Known differences to the real server, on purpose: `max_completion_tokens` counts, `num_predict: 0` is not endless
//! (the model comes to an end by itself), and requests do not queue.

mod anthropic;
mod ask;
mod body;
mod fault;
mod front;
mod job;
pub mod model;
mod names;
mod ollama;
mod openai;

use ask::Ask;
use body::Body;
use bytes::Bytes;
use fault::{Dialect, Fault};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;

/// Largest request body: twice the 32 MiB that a gateway in front lets through, so that the gateway's limit is met
/// first, and one body stays far from the machine's memory.
const MAX_BODY_BYTES: usize = 64 << 20;

/// What `/api/version` says: the version of Ollama whose behaviour this follows, and that it is not it.
const VERSION: &str = "0.17.4-attach-demo";

/// The engine, and what it has seen; a test holds an [`Arc`] of it beside the server.
#[derive(Debug, Default)]
pub struct Engine {
    token_time: Duration,
    requests: AtomicU64,
    generated: AtomicU64,
    running: AtomicU64,
    /// Seconds since the epoch; 0 before the first use.
    last_used: AtomicI64,
}

impl Engine {
    /// An engine that takes `token_time` for each token.
    #[must_use]
    pub fn new(token_time: Duration) -> Arc<Self> {
        Arc::new(Self { token_time, ..Self::default() })
    }

    /// Requests for an answer or an embedding that were taken up, since the start.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Tokens generated since the start, those of abandoned answers too.
    #[must_use]
    pub fn generated(&self) -> u64 {
        self.generated.load(Ordering::Relaxed)
    }

    /// Answers being generated now.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }
}

/// Serves until it is dropped; dropping it cuts the connections.
pub async fn serve(listener: TcpListener, engine: Arc<Engine>) -> Infallible {
    crate::listen::serve(listener, move |request| respond(engine.clone(), request)).await
}

#[derive(Debug, PartialEq, Eq)]
enum Route {
    Greeting,
    Version,
    Tags,
    Running,
    Show,
    Chat,
    Generate,
    Embed,
    Embeddings,
    OpenAiModels,
    OpenAiModel(String),
    OpenAiChat,
    OpenAiCompletion,
    OpenAiEmbeddings,
    Messages,
}

enum Miss {
    Path,
    Method { allowed: &'static str },
}

impl Route {
    fn of(method: &Method, path: &str) -> Result<Self, Miss> {
        let (route, allowed) = match path {
            "/" => (Self::Greeting, "GET, HEAD"),
            "/api/version" => (Self::Version, "GET, HEAD"),
            "/api/tags" => (Self::Tags, "GET, HEAD"),
            "/api/ps" => (Self::Running, "GET"),
            "/api/show" => (Self::Show, "POST"),
            "/api/chat" => (Self::Chat, "POST"),
            "/api/generate" => (Self::Generate, "POST"),
            "/api/embed" => (Self::Embed, "POST"),
            "/api/embeddings" => (Self::Embeddings, "POST"),
            "/v1/models" => (Self::OpenAiModels, "GET"),
            "/v1/chat/completions" => (Self::OpenAiChat, "POST"),
            "/v1/completions" => (Self::OpenAiCompletion, "POST"),
            "/v1/embeddings" => (Self::OpenAiEmbeddings, "POST"),
            "/v1/messages" => (Self::Messages, "POST"),
            _ => match path.strip_prefix("/v1/models/") {
                Some(name) if !name.is_empty() => (Self::OpenAiModel(names::from_path(name)), "GET"),
                _ => return Err(Miss::Path),
            },
        };
        if allowed.split(", ").any(|name| name == method.as_str()) {
            Ok(route)
        } else {
            Err(Miss::Method { allowed })
        }
    }

    fn dialect(&self) -> Dialect {
        match self {
            Self::Greeting
            | Self::Version
            | Self::Tags
            | Self::Running
            | Self::Show
            | Self::Chat
            | Self::Generate
            | Self::Embed
            | Self::Embeddings => Dialect::Ollama,
            Self::OpenAiModels
            | Self::OpenAiModel(_)
            | Self::OpenAiChat
            | Self::OpenAiCompletion
            | Self::OpenAiEmbeddings => Dialect::OpenAi,
            Self::Messages => Dialect::Anthropic,
        }
    }
}

async fn respond(engine: Arc<Engine>, request: Request<Incoming>) -> Response<Body> {
    if !front::admits(request.headers()) {
        return plain(StatusCode::FORBIDDEN, "");
    }
    match Route::of(request.method(), request.uri().path()) {
        Ok(route) => {
            let dialect = route.dialect();
            answer(engine, route, request.into_body())
                .await
                .unwrap_or_else(|fault| fault.into_response(dialect))
        }
        Err(Miss::Path) => plain(StatusCode::NOT_FOUND, "404 page not found"),
        Err(Miss::Method { allowed }) => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            response
        }
    }
}

async fn answer(engine: Arc<Engine>, route: Route, body: Incoming) -> Result<Response<Body>, Fault> {
    match route {
        Route::Greeting => Ok(plain(StatusCode::OK, "Ollama is running")),
        Route::Version => Ok(ollama::version()),
        Route::Tags => Ok(ollama::tags()),
        Route::Running => Ok(ollama::running(&engine)),
        Route::OpenAiModels => Ok(openai::models()),
        Route::OpenAiModel(name) => openai::model(name),
        Route::Show => ollama::show(&read(body).await?),
        Route::Chat => ollama::chat(engine, &read(body).await?).await,
        Route::Generate => ollama::generate(engine, &read(body).await?).await,
        Route::Embed => ollama::embed(&engine, &read(body).await?),
        Route::Embeddings => ollama::embeddings(&engine, &read(body).await?),
        Route::OpenAiChat => openai::chat(engine, &read(body).await?).await,
        Route::OpenAiCompletion => openai::completion(engine, &read(body).await?).await,
        Route::OpenAiEmbeddings => openai::embeddings(&engine, &read(body).await?),
        Route::Messages => anthropic::messages(engine, &read(body).await?).await,
    }
}

async fn read(body: Incoming) -> Result<Ask, Fault> {
    let bytes: Bytes = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Fault::TooLarge),
        Err(_) => return Err(Fault::BodyBroken),
    };
    Ask::parse(&bytes)
}

/// The model that a request names, if it is ours.
fn model_of(ask: &Ask) -> Result<String, Fault> {
    model_or(ask, Fault::UnknownModel)
}

fn model_or(ask: &Ask, unknown: fn(String) -> Fault) -> Result<String, Fault> {
    named(ask.text("model")?, unknown)
}

fn named(name: Option<&str>, unknown: fn(String) -> Fault) -> Result<String, Fault> {
    match name {
        None | Some("") => Err(Fault::NoModel),
        Some(name) if names::is_known(name) => Ok(name.to_owned()),
        Some(name) => Err(unknown(name.to_owned())),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", Body::whole(text))
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    typed(StatusCode::OK, "application/json; charset=utf-8", Body::whole(to_json(value)))
}

fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The engine's own values always have a JSON form: no map with keys other than strings, no number out of range.
fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
