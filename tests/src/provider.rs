//! An identity provider that people sign in at: an [`Issuer`] with a device, an authorization and a token endpoint.
//!
//! It is an outside party, so it is a fake, over a real socket; and it can be as wrong as one on the network can.

use crate::{Issuer, issuer::AUDIENCE};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

pub const CLIENT_ID: &str = "terminal";
pub const SERVICE: (&str, &str) = ("service", "s3cret-of-the-service");

/// Keeps running until it is dropped.
pub struct Provider {
    pub port: u16,
    pub issuer: Arc<Issuer>,
    shared: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

/// What a poll of the device flow is answered with, when it is not the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    Pending,
    SlowDown,
    Expired,
    Denied,
    /// As a proxy in front of a provider that starts anew.
    Broken,
}

/// How the browser is sent back.
#[derive(Debug, Clone, Default)]
pub struct Return {
    /// Instead of the state that was given.
    pub state: Option<String>,
    /// Instead of the issuer; empty leaves it out.
    pub issuer: Option<String>,
    /// Instead of a code.
    pub error: Option<String>,
}

pub type Form = HashMap<String, String>;

struct State {
    url: String,
    polls: VecDeque<Poll>,
    expires_in: u64,
    token_life_s: u64,
    comes_back: Return,
    metadata: Value,
    /// By code: the challenge and the redirect address that it is bound to.
    codes: HashMap<String, (String, String)>,
    /// What the device code is bound to.
    device_challenge: Option<String>,
    /// Good for one use each.
    refresh_tokens: Vec<String>,
    refreshes_fail: bool,
    /// Forms of the token endpoint.
    asked: Vec<Form>,
    polled_at: Vec<Instant>,
    /// Queries of the authorization endpoint.
    authorizations: Vec<Form>,
    made: usize,
}

impl Provider {
    pub async fn start() -> Self {
        let issuer = Arc::new(Issuer::start().await);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has free ports");
        let port = listener.local_addr().expect("bound").port();
        let url = format!("http://127.0.0.1:{port}");
        let metadata = json!({
            "issuer": url, "jwks_uri": format!("{}/jwks", issuer.url()),
            "token_endpoint": format!("{url}/token"),
            "authorization_endpoint": format!("{url}/authorize"),
            "device_authorization_endpoint": format!("{url}/device"),
            "scopes_supported": ["openid", "offline_access"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        issuer.call_itself(&url);
        let shared = Arc::new(Mutex::new(State {
            url,
            polls: VecDeque::new(),
            expires_in: 300,
            token_life_s: 3600,
            comes_back: Return::default(),
            metadata,
            codes: HashMap::new(),
            device_challenge: None,
            refresh_tokens: Vec::new(),
            refreshes_fail: false,
            asked: Vec::new(),
            polled_at: Vec::new(),
            authorizations: Vec::new(),
            made: 0,
        }));
        let task = tokio::spawn({
            let (shared, issuer) = (Arc::clone(&shared), Arc::clone(&issuer));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (shared, issuer) = (Arc::clone(&shared), Arc::clone(&issuer));
                    tokio::spawn(async move {
                        let service = service_fn(|request| {
                            let (shared, issuer) = (Arc::clone(&shared), Arc::clone(&issuer));
                            async move { Ok::<_, Infallible>(answer(request, &shared, &issuer).await) }
                        });
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            }
        });
        Self { port, issuer, shared, task }
    }

    pub fn url(&self) -> String {
        self.state().url.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().expect("not poisoned")
    }

    /// The next polls get these answers, one each; after them the person has signed in.
    pub fn poll_with(&self, polls: &[Poll]) {
        self.state().polls = polls.iter().copied().collect();
    }

    pub fn device_codes_live(&self, seconds: u64) {
        self.state().expires_in = seconds;
    }

    pub fn tokens_live(&self, seconds: u64) {
        self.state().token_life_s = seconds;
    }

    pub fn send_back(&self, comes_back: Return) {
        self.state().comes_back = comes_back;
    }

    pub fn say(&self, name: &str, value: Value) {
        self.state().metadata[name] = value;
    }

    pub fn metadata(&self, name: &str) -> Value {
        self.state().metadata[name].clone()
    }

    /// No refresh token is good any more.
    pub fn end_sessions(&self) {
        self.state().refresh_tokens.clear();
    }

    /// Refreshes get a 503 from now on.
    pub fn break_refreshes(&self, do_fail: bool) {
        self.state().refreshes_fail = do_fail;
    }

    /// How often the token endpoint was asked with this grant.
    pub fn asked(&self, grant: &str) -> usize {
        self.forms().iter().filter(|form| form["grant_type"].ends_with(grant)).count()
    }

    /// Between the polls of the device flow.
    pub fn waits(&self) -> Vec<Duration> {
        self.state().polled_at.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    pub fn authorizations(&self) -> Vec<Form> {
        self.state().authorizations.clone()
    }

    pub fn forms(&self) -> Vec<Form> {
        self.state().asked.clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: Request<Incoming>, shared: &Mutex<State>, issuer: &Issuer) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut state = shared.lock().expect("not poisoned");
    match head.uri.path() {
        "/.well-known/openid-configuration" => respond(200, &state.metadata),
        "/authorize" => state.authorize(&form(head.uri.query().unwrap_or_default().as_bytes())),
        "/device" => {
            state.device_challenge = form(&body).remove("code_challenge");
            let url = &state.url;
            let details = json!({
                "device_code": "a-device-code", "user_code": "ABCD-EFGH", "verification_uri": format!("{url}/activate"),
                "verification_uri_complete": format!("{url}/activate?user_code=ABCD-EFGH"),
                "expires_in": state.expires_in, "interval": 1,
            });
            respond(200, &details)
        }
        "/token" => {
            let mut form = form(&body);
            if let Some(basic) = head.headers.get("authorization").and_then(|value| value.to_str().ok()) {
                form.insert("authorization".to_owned(), basic.to_owned());
            }
            let (status, json) = state.token(&form, issuer);
            state.asked.push(form);
            respond(status, &json)
        }
        _ => respond(404, &json!({})),
    }
}

fn form(text: &[u8]) -> Form {
    let text = String::from_utf8_lossy(text);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.expect("two digits")));
                u8::from_str_radix(&String::from_iter(digits), 16).expect("hexadecimal")
            }
            other => other,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn respond(status: u16, json: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(json.to_string().into()))
        .expect("a valid response")
}

/// RFC 7636 section 4.2.
fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

fn refused(code: &str, description: &str) -> (u16, Value) {
    (400, json!({"error": code, "error_description": description}))
}

impl State {
    /// Whoever comes is signed in at once, and sent back.
    fn authorize(&mut self, query: &Form) -> Response<Full<Bytes>> {
        let is_right = query.get("response_type").is_some_and(|kind| kind == "code")
            && query.get("client_id").is_some_and(|id| id == CLIENT_ID)
            && query.get("code_challenge_method").is_some_and(|method| method == "S256");
        if !is_right {
            return respond(400, &json!({"error": "invalid_request"}));
        }
        self.authorizations.push(query.clone());
        self.made += 1;
        let code = format!("code-{}", self.made);
        self.codes.insert(code.clone(), (query["code_challenge"].clone(), query["redirect_uri"].clone()));
        let back = &self.comes_back;
        let mut location = match &back.error {
            Some(error) => format!("{}?error={error}&error_description=No+thanks", query["redirect_uri"]),
            None => format!("{}?code={code}", query["redirect_uri"]),
        };
        location += &format!("&state={}", back.state.as_ref().unwrap_or(&query["state"]));
        let issuer = back.issuer.as_ref().unwrap_or(&self.url);
        if !issuer.is_empty() {
            location += &format!("&iss={}", issuer.replace(':', "%3A").replace('/', "%2F"));
        }
        Response::builder().status(302).header("location", location).body(Full::default()).expect("valid")
    }

    fn token(&mut self, form: &Form, issuer: &Issuer) -> (u16, Value) {
        let grant = form["grant_type"].as_str();
        if grant == "client_credentials" {
            let expected =
                base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", SERVICE.0, SERVICE.1));
            if form.get("authorization") != Some(&format!("Basic {expected}")) {
                return (401, json!({"error": "invalid_client"}));
            }
            let token = self.mint(issuer, SERVICE.0, form);
            return (
                200,
                json!({"access_token": token, "token_type": "Bearer", "expires_in": self.token_life_s}),
            );
        }
        if form.get("client_id").is_none_or(|id| id != CLIENT_ID) {
            return (401, json!({"error": "invalid_client", "error_description": "No such client"}));
        }
        match grant {
            "authorization_code" => {
                let Some((challenge, redirect_uri)) = self.codes.remove(&form["code"]) else {
                    return refused("invalid_grant", "The code is not known");
                };
                if challenge_of(&form["code_verifier"]) != challenge || redirect_uri != form["redirect_uri"] {
                    return refused("invalid_grant", "The code is another's");
                }
            }
            "refresh_token" => {
                if self.refreshes_fail {
                    return (503, json!({"error": "temporarily_unavailable"}));
                }
                let used = &form["refresh_token"];
                let Some(at) = self.refresh_tokens.iter().position(|token| token == used) else {
                    // As a theft is answered: nobody's is good any more.
                    self.refresh_tokens.clear();
                    return refused("invalid_grant", "The refresh token was used before");
                };
                self.refresh_tokens.remove(at);
            }
            _ => {
                self.polled_at.push(Instant::now());
                let verifier = form.get("code_verifier").map(|verifier| challenge_of(verifier));
                if verifier != self.device_challenge {
                    return refused("invalid_grant", "The code is another's");
                }
                match self.polls.pop_front() {
                    None => {}
                    Some(Poll::Pending) => return refused("authorization_pending", "Not yet"),
                    Some(Poll::SlowDown) => return refused("slow_down", "Not so fast"),
                    Some(Poll::Expired) => return refused("expired_token", "Too late"),
                    Some(Poll::Denied) => return refused("access_denied", "The person said no"),
                    Some(Poll::Broken) => return (502, json!("a page of a proxy")),
                }
            }
        }
        let access_token = self.mint(issuer, "alice", form);
        let refresh_token = format!("refresh-{}", self.made);
        self.refresh_tokens.push(refresh_token.clone());
        let answer = json!({
            "access_token": access_token, "token_type": "bearer", "expires_in": self.token_life_s,
            "refresh_token": refresh_token, "scope": "openid offline_access",
        });
        (200, answer)
    }

    fn mint(&mut self, issuer: &Issuer, subject: &str, form: &Form) -> String {
        self.made += 1;
        let audience = form.get("audience").map_or(AUDIENCE, String::as_str);
        let exp = crate::issuer::now() + self.token_life_s;
        issuer.token_with(subject, &json!({"aud": audience, "exp": exp, "jti": self.made.to_string()}))
    }
}
