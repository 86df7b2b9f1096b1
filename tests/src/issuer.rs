//! An OpenID Connect issuer: discovery, a key set, and tokens.

use crate::Signer;
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;

pub const AUDIENCE: &str = "test-api";

/// Keeps running until it is dropped.
pub struct Issuer {
    pub port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    /// What the metadata says; the same as in the tokens, unless a test wants otherwise.
    issuer: Mutex<String>,
    /// The body that its key set has.
    jwks: Mutex<String>,
    /// Where the metadata says that they are.
    jwks_uri: Mutex<String>,
    fetches: AtomicUsize,
    /// When its keys alone were asked for.
    key_fetches: Mutex<Vec<Instant>>,
    is_broken: Mutex<bool>,
}

/// One key for all tests of a process: making one takes long, and what they test is not the key.
fn key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).expect("the system has randomness"))
}

const KID: &str = "test-key";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The one key by any name.
fn jwk(kid: &str) -> Value {
    let public = key().public_key();
    let modulus = public.modulus().big_endian_without_leading_zero();
    let exponent = public.exponent().big_endian_without_leading_zero();
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": base64(modulus), "e": base64(exponent)})
}

pub fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the harness stands outside of the gateway's clock")]
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

impl Issuer {
    pub async fn start() -> Self {
        Self::start_at(0).await
    }

    /// On this port, for an issuer that was away before or will be.
    pub async fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("loopback has free ports");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            issuer: Mutex::new(format!("http://127.0.0.1:{port}")),
            jwks: Mutex::new(json!({"keys": [jwk(KID)]}).to_string()),
            jwks_uri: Mutex::new(format!("http://127.0.0.1:{port}/jwks")),
            fetches: AtomicUsize::new(0),
            key_fetches: Mutex::default(),
            is_broken: Mutex::new(false),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                            let response = shared.answer(request.uri().path());
                            async move { Ok::<_, Infallible>(response) }
                        });
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            }
        });
        Self { port, shared, task }
    }

    /// As its tokens name it.
    pub fn url(&self) -> String {
        self.shared.issuer.lock().expect("not poisoned").clone()
    }

    /// From now on metadata and tokens name this issuer.
    pub fn call_itself(&self, issuer: &str) {
        issuer.clone_into(&mut self.shared.issuer.lock().expect("not poisoned"));
    }

    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// How often its keys alone were asked for.
    pub fn key_fetches(&self) -> usize {
        self.key_fetch_times().len()
    }

    pub fn key_fetch_times(&self) -> Vec<Instant> {
        self.shared.key_fetches.lock().expect("not poisoned").clone()
    }

    /// From now on its keys are these and no others.
    pub fn publish(&self, keys: &[&Signer]) {
        self.answer_keys(key_set(keys).to_string());
    }

    /// From now on its key set has its one key by each of these names, and no others.
    pub fn publish_as(&self, kids: &[&str]) {
        let keys: Vec<_> = kids.iter().map(|kid| jwk(kid)).collect();
        self.answer_keys(json!({ "keys": keys }).to_string());
    }

    /// From now on this is what it has for a key set.
    pub fn answer_keys(&self, body: impl Into<String>) {
        *self.shared.jwks.lock().expect("not poisoned") = body.into();
    }

    /// Its keys are on another server.
    pub fn keep_keys_at(&self, address: &str) {
        address.clone_into(&mut self.shared.jwks_uri.lock().expect("not poisoned"));
    }

    /// From now on every request gets a 500.
    pub fn break_down(&self, is_broken: bool) {
        *self.shared.is_broken.lock().expect("not poisoned") = is_broken;
    }

    /// A good token for this user.
    pub fn token(&self, subject: &str) -> String {
        self.token_with(subject, &json!({}))
    }

    /// A good token that names its key so.
    pub fn token_as(&self, kid: &str, subject: &str) -> String {
        sign(&json!({"alg": "RS256", "typ": "at+jwt", "kid": kid}), &self.claims(subject, &json!({})))
    }

    /// With these claims on top; `null` takes one away.
    pub fn token_with(&self, subject: &str, claims: &Value) -> String {
        sign(&json!({"alg": "RS256", "typ": "at+jwt", "kid": KID}), &self.claims(subject, claims))
    }

    /// A good token by this key.
    pub fn token_by(&self, key: &Signer, subject: &str, claims: &Value) -> String {
        key.token(&self.claims(subject, claims))
    }

    fn claims(&self, subject: &str, claims: &Value) -> Value {
        claims_of(&self.url(), subject, claims)
    }
}

/// Of a good token, with these on top; `null` takes one away.
pub fn claims_of(issuer: &str, subject: &str, claims: &Value) -> Value {
    let mut all = json!({
        "iss": issuer, "aud": AUDIENCE, "sub": subject, "iat": now(), "exp": now() + 3600,
    });
    for (name, value) in claims.as_object().into_iter().flatten() {
        if value.is_null() {
            all.as_object_mut().expect("an object").remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    all
}

pub fn key_set(keys: &[&Signer]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

pub fn sign(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let mut signature = vec![0; key().public_modulus_len()];
    key()
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .expect("the key signs");
    format!("{message}.{}", base64(signature))
}

impl Shared {
    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if path == "/jwks" {
            self.key_fetches.lock().expect("not poisoned").push(Instant::now());
        }
        let json = match path {
            _ if *self.is_broken.lock().expect("not poisoned") => None,
            "/.well-known/openid-configuration" => {
                let metadata = json!({
                    "issuer": *self.issuer.lock().expect("not poisoned"),
                    "jwks_uri": *self.jwks_uri.lock().expect("not poisoned"),
                });
                Some(metadata.to_string())
            }
            "/jwks" => Some(self.jwks.lock().expect("not poisoned").clone()),
            _ => None,
        };
        let status = if json.is_some() { 200 } else { 500 };
        let body = json.unwrap_or_default();
        Response::builder().status(status).body(Full::new(body.into())).expect("a valid response")
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
