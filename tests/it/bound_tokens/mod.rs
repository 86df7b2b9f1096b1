//! Tokens that are bound to what their caller has: a key, which signs each request (RFC 9449), or the certificate of its
//! connection (RFC 8705). Whoever has the token alone has nothing.

mod certificates;
mod https;
mod proofs;

use attach_tests::{Answer, Engine, engine::samples, gateway::Setup, issuer};
use http::{Method, Request};

const CHAT: &str = "/v1/chat/completions";

/// A gateway with one issuer, of whose tokens these proofs are checked.
fn setup(issuer: &str, engine: &Engine, proofs: &str) -> Setup {
    let provider = format!("{{issuer: '{issuer}', audiences: [{}], proofs: [{proofs}]}}", issuer::AUDIENCE);
    Setup::new().with_bundle(&format!(
        "identity_providers: [{provider}]\nupstreams: [{{id: engine, url: '{}'}}]\n",
        engine.url()
    ))
}

async fn engine() -> Engine {
    Engine::start(samples::openai_chat(1, 1)).await
}

/// A chat, with these headers.
fn chat(path: &str, headers: &[(&str, String)]) -> https::Asked {
    let mut request = Request::builder().method(Method::POST).uri(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(r#"{"model":"tiny","prompt":"x","messages":[]}"#.into()).expect("a request")
}

/// The error of a challenge for a proof.
fn asks_for_proof(answer: &Answer, error: &str) -> bool {
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    answer.status == 401
        && challenge.starts_with("DPoP ")
        && challenge.contains(&format!("error=\"{error}\""))
        && challenge.contains("algs=\"")
        && challenge.contains("ES256")
}
