//! The browser's return: a server on loopback that takes one answer.

use super::{RedirectUri, fault::SignInError};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{cell::Cell, convert::Infallible, rc::Rc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use url::form_urlencoded;

/// A browser sends its request at once; what only holds the connection open is no browser.
const HEAD: Duration = Duration::from_secs(10);

/// What the page has to go out, beside connections that a browser holds open in vain.
const PAGE: Duration = Duration::from_secs(1);

/// A browser opens a handful, some of them only to have them.
const MAX_CONNECTIONS: usize = 16;

const GOOD: &str = include_str!("signed_in.html");
const BAD: &str = include_str!("not_signed_in.html");

pub(super) struct Callback {
    listener: TcpListener,
    uri: String,
    path: String,
}

/// What the provider had the browser bring.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) code: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
    state: Option<String>,
}

impl Callback {
    pub(super) async fn listen(redirect_uri: &RedirectUri) -> Result<Self, SignInError> {
        let address = redirect_uri.address();
        let failed = |cause| SignInError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, uri: redirect_uri.at(port), path: redirect_uri.path().to_owned() })
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// The first answer with this state; then nobody listens any more. Others are told that they are not waited for: a
    /// page that guesses at open ports must neither end the sign-in nor be believed.
    pub(super) async fn answer(self, state: &str) -> Answer {
        let (found, mut answers) = mpsc::channel(1);
        let expected =
            Rc::new(Expected { path: self.path, state: state.to_owned(), is_taken: Cell::new(false) });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(answer) = answers.recv() => {
                    let sent = async { while connections.join_next().await.is_some() {} };
                    let _ = timeout(PAGE, sent).await;
                    return answer;
                }
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn_local(serve(stream, Rc::clone(&expected), found.clone()));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

struct Expected {
    path: String,
    state: String,
    is_taken: Cell<bool>,
}

async fn serve(stream: TcpStream, expected: Rc<Expected>, found: mpsc::Sender<Answer>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (page, answer) = expected.look_at(&request);
        if let Some(answer) = answer {
            // Never full: it is taken once.
            let _ = found.try_send(answer);
        }
        async move { Ok::<_, Infallible>(page) }
    });
    let mut server = http1::Builder::new();
    // One request a connection, so that none is left open at the end.
    server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD);
    // A browser that goes away has said what it had to say.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

impl Expected {
    fn look_at(&self, request: &Request<Incoming>) -> (Response<Full<Bytes>>, Option<Answer>) {
        if request.method() != Method::GET || request.uri().path() != self.path {
            return (page(StatusCode::NOT_FOUND, BAD), None);
        }
        let answer = parse(request.uri().query().unwrap_or_default()).filter(|answer| self.is_to_us(answer));
        let Some(answer) = answer.filter(|_| !self.is_taken.get()) else {
            return (page(StatusCode::BAD_REQUEST, BAD), None);
        };
        self.is_taken.set(true);
        if answer.code.is_some() && answer.error.is_none() {
            (page(StatusCode::OK, GOOD), Some(answer))
        } else {
            (page(StatusCode::BAD_REQUEST, BAD), Some(answer))
        }
    }

    fn is_to_us(&self, answer: &Answer) -> bool {
        let given = answer.state.as_deref().unwrap_or_default();
        verify_slices_are_equal(given.as_bytes(), self.state.as_bytes()).is_ok()
    }
}

/// `None` when a parameter is there twice (RFC 6749 section 3.1 forbids it).
fn parse(query: &str) -> Option<Answer> {
    let mut answer = Answer::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let field = match name.as_ref() {
            "code" => &mut answer.code,
            "iss" => &mut answer.issuer,
            "error" => &mut answer.error,
            "error_description" => &mut answer.error_description,
            "state" => &mut answer.state,
            _ => continue,
        };
        if field.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    Some(answer)
}

/// Nothing of the request is in it.
fn page(status: StatusCode, html: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(html.as_bytes())));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
