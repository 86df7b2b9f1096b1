//! Only what is in the table goes through, to whoever has the permission of its class; and what the operator opened.

mod changes;
mod files;
mod opened;
mod table;

use attach_tests::{Client, Engine, Gateway, Script, eventually, gateway::Setup};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const USER: &str = "sk-user-0123456789";
const ADMIN: &str = "sk-admin-0123456789";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A bundle in which everyone may ask and read, and admins may change the engine.
fn bundle(engines: &str, more: &str) -> String {
    format!(
        "keys:
  - {{id: user, sha256: {}}}
  - {{id: admin, sha256: {}, groups: [admins], scopes: [inference, read, admin]}}
access_rules:
  - {{id: all, permissions: [PERMISSION_INFERENCE, PERMISSION_READ]}}
  - {{id: admins, groups: [admins], permissions: [PERMISSION_ADMIN]}}
upstreams: {engines}
{more}",
        sha256(USER),
        sha256(ADMIN)
    )
}

async fn world(more: &str) -> (Engine, Gateway) {
    let engine = Engine::start(Script::Json(200, json!({"status": "success"}))).await;
    let engines = format!("[{{id: engine, url: '{}'}}]", engine.url());
    let gateway = Setup::new().with_bundle(&bundle(&engines, more)).start().await;
    (engine, gateway)
}

fn user(gateway: &Gateway) -> Client {
    gateway.client().with_bearer(USER)
}

fn admin(gateway: &Gateway) -> Client {
    gateway.client().with_bearer(ADMIN)
}

fn digest_path() -> String {
    format!("/api/blobs/sha256:{}", "0a".repeat(32))
}

/// What is said to a request whose target is written just so. Its connection is its own.
async fn status_of(gateway: &Gateway, method: &str, target: &str, key: Option<&str>) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
    let credential = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let body = r#"{"model":"tiny"}"#;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{credential}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    // What was not read of the body may end the connection with a reset, behind the answer.
    let _ = read.await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{method} {target}: {answer}"))
}

async fn log_line(gateway: &Gateway, operation: &str, decision: &str) -> Value {
    eventually("the line of the request", PATIENCE, async || {
        let text = gateway.access_log();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        lines.into_iter().find(|line| line["operation"] == operation && line["decision"] == decision)
    })
    .await
}
