//! Changing the real Ollama's models through the gateway: refused to a user, done for an admin.

use crate::World;
use attach_tests::{Answer, Client, gateway::Setup};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::{fs, rc::Rc};

const USER: &str = "sk-user-0123456789";
const ADMIN: &str = "sk-admin-0123456789";

/// Of a file that no model is made of. Far more than a gateway would keep of a body.
const FILE_BYTES: usize = 64 << 20;

/// The gateway's own, and the buffers of two sockets; far less than the file.
const MOST_GROWTH: usize = FILE_BYTES / 4;

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn send(client: &Client, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
    client.send(method, path, body).await.whole().await
}

async fn names(client: &Client) -> Vec<String> {
    let tags = client.get("/api/tags").await.json();
    let models = tags["models"].as_array().expect("a list").iter();
    let mut names: Vec<_> = models.map(|model| model["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

/// The most memory that it ever had.
fn peak_bytes(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

pub(crate) async fn models_are_made_copied_and_deleted_by_an_admin_alone(world: Rc<World>) {
    let bundle = format!(
        "keys: [{{id: user, sha256: {}}}, {{id: admin, sha256: {}, groups: [admins], scopes: [inference, read, admin]}}]
access_rules:
  - {{id: all, permissions: [PERMISSION_INFERENCE, PERMISSION_READ]}}
  - {{id: admins, groups: [admins], permissions: [PERMISSION_ADMIN]}}
upstreams: [{{id: ollama, url: '{}'}}]",
        sha256(USER.as_bytes()),
        sha256(ADMIN.as_bytes()),
        world.ollama.url()
    );
    let gateway = Setup::new().with_bundle(&bundle).start().await;
    let (user, admin) = (gateway.client().with_bearer(USER), gateway.client().with_bearer(ADMIN));
    let before = names(&user).await;

    let create = json!({"model": "mine", "from": "tiny", "parameters": {"num_predict": 1}});
    for (method, path, body) in [
        (Method::POST, "/api/pull", json!({"model": "tiny"})),
        (Method::POST, "/api/create", create.clone()),
        (Method::POST, "/api/copy", json!({"source": "tiny", "destination": "mine"})),
        (Method::DELETE, "/api/delete", json!({"model": "tiny"})),
    ] {
        let answer = send(&user, method, path, body.to_string()).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    assert_eq!(names(&user).await, before, "nothing happened");

    let made = admin.post("/api/create", &create).await;
    let last =
        made.text().lines().last().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    assert_eq!(last, Some(json!({"status": "success"})), "{}", made.text());
    assert!(made.text().lines().count() > 1, "with its progress: {}", made.text());
    let copied = admin.post("/api/copy", &json!({"source": "mine", "destination": "copied"})).await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    let with_both = names(&user).await;
    assert!(
        ["mine:latest", "copied:latest"].iter().all(|name| with_both.iter().any(|it| it == name)),
        "{with_both:?}"
    );
    let asked = user.post("/api/generate", &json!({"model": "copied", "prompt": "x", "stream": false})).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    for name in ["mine", "copied"] {
        let deleted = send(&admin, Method::DELETE, "/api/delete", json!({"model": name}).to_string()).await;
        assert_eq!(deleted.status, 200, "{}", deleted.text());
    }
    assert_eq!(names(&user).await, before);
    let unknown = send(&admin, Method::DELETE, "/api/delete", r#"{"model":"nope"}"#).await;
    assert_eq!(unknown.status, 404, "the engine's own word: {}", unknown.text());

    // A registry that the engine may not call is refused here.
    let foreign =
        admin.post("/api/pull", &json!({"model": "127.0.0.1:1/library/tiny", "stream": false})).await;
    assert_eq!(foreign.status, 400, "{}", foreign.text());

    assert_eq!(gateway.wait_events(1).await[0]["operation"], "text_completion", "nothing else is usage");
}

pub(crate) async fn a_models_file_reaches_the_engine_whole_and_the_gateway_does_not_keep_it(
    world: Rc<World>,
) {
    let bundle = format!(
        "keys: [{{id: admin, sha256: {}, scopes: [admin]}}]
access_rules: [{{id: all, permissions: [PERMISSION_ADMIN]}}]
upstreams: [{{id: ollama, url: '{}'}}]",
        sha256(ADMIN.as_bytes()),
        world.ollama.url()
    );
    let gateway = Setup::new().with_bundle(&bundle).start().await;
    let admin = gateway.client().with_bearer(ADMIN);
    let file: Vec<u8> = (0..FILE_BYTES).map(|at| (at >> 7) as u8).collect();
    let digest = sha256(&file);
    let path = format!("/api/blobs/sha256:{digest}");
    assert_eq!(send(&admin, Method::HEAD, &path, "").await.status, 404);
    let before = peak_bytes(gateway.pid());
    let sent = send(&admin, Method::POST, &path, file.clone()).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let grown = peak_bytes(gateway.pid()) - before;
    assert!(grown < MOST_GROWTH, "the gateway grew by {grown} bytes");
    world.note(format!("a model's file of 64 MiB through the gateway: it grew by {} KiB", grown >> 10));
    assert_eq!(send(&admin, Method::HEAD, &path, "").await.status, 200);
    // The engine has it, and says so before it reads it again.
    assert_eq!(send(&admin, Method::POST, &path, file.clone()).await.status, 200);
    // Another file under this name is the engine's to refuse.
    let other = format!("/api/blobs/sha256:{}", sha256(b"another"));
    let refused = send(&admin, Method::POST, &other, "not it").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}
