//! Issuers that are attacked, away, wrong, or busy with new keys, while callers call: nobody who has a good token is refused
//! as long as a good key set is held, and how it stands is told.

mod down;
mod flood;
mod garbage;
mod hours;
mod load;
mod managed;
mod rotation;
mod standing;

use attach_tests::{Answer, Engine, Gateway, Issuer, Kept, Signer, engine::samples, gateway::Setup, issuer};
use serde_json::json;

/// A gateway that has these issuers, and no limits.
fn setup(issuers: &[String], engine: &Engine) -> Setup {
    let providers: String = issuers
        .iter()
        .enumerate()
        .map(|(n, url)| format!("  - {{id: i{n}, issuer: '{url}', audiences: [{}]}}\n", issuer::AUDIENCE))
        .collect();
    let upstream = format!("upstreams: [{{id: engine, url: '{}'}}]\n", engine.url());
    Setup::new().with_bundle(&format!("identity_providers:\n{providers}{upstream}"))
}

async fn engine() -> Engine {
    Engine::start(samples::openai_chat(1, 1)).await
}

/// One chat on a connection of its own.
async fn chat(gateway: &Gateway, token: &str) -> Answer {
    Kept::connect(gateway.port).await.chat(token).await
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    chat(gateway, token).await.status.as_u16()
}

/// A token of this issuer by a key that it does not have: a reason to ask it for its keys.
fn stranger(issuer: &Issuer) -> String {
    issuer.token_by(&Signer::new("nobody-s"), "mallory", &json!({}))
}
