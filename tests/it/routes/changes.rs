//! What changes an engine: who may do it, to which models, at which engine, and where the engine is sent.

use super::{ADMIN, PATIENCE, USER, admin, bundle, digest_path, log_line, sha256, user, world};
use attach_tests::{Answer, Engine, Script, client::Stream, engine::Step, gateway::Setup};
use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn whole(stream: impl Future<Output = Stream>) -> Answer {
    stream.await.whole().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_changes_the_engine_and_the_access_log_says_who_did_what() {
    let (engine, gateway) = world("").await;
    let admin = admin(&gateway);
    for (method, path, body, operation, model) in [
        (Method::POST, "/api/pull", json!({"model": "tiny", "stream": false}), "pull", "tiny"),
        (Method::POST, "/api/push", json!({"model": "me/tiny"}), "push", "me/tiny"),
        (Method::POST, "/api/create", json!({"model": "mine", "from": "tiny"}), "create", "mine"),
        (Method::POST, "/api/copy", json!({"source": "tiny", "destination": "other"}), "copy", "tiny"),
        (Method::DELETE, "/api/delete", json!({"model": "tiny"}), "delete", "tiny"),
    ] {
        let answer = whole(admin.send(method.clone(), path, body.to_string())).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let seen = engine.seen().pop().expect("the engine has it");
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method.as_str(), path));
        assert_eq!(seen.json(), body, "every byte as it came");
        assert_eq!(seen.header("x-attach-user"), Some("admin"));
        let line = log_line(&gateway, operation, "complete").await;
        let told = ["principal", "decision", "model", "upstream"].map(|name| line[name].clone());
        assert_eq!(told, ["admin", "complete", model, "engine"].map(Value::from), "{line}");
    }
    assert!(gateway.events().is_empty(), "nothing of it is usage");

    let refused = user(&gateway).post("/api/pull", &json!({"model": "tiny"})).await;
    assert_eq!(refused.json(), json!({"error": "You do not have the permission `admin` here."}));
    let line = log_line(&gateway, "pull", "permission_denied").await;
    assert_eq!((&line["principal"], &line["status"]), (&json!("user"), &json!(403)), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_the_permission_hears_so_before_its_body_is_read() {
    let (_engine, gateway) = world("").await;
    for (path, length) in [("/api/create", 10_000_000), (&*digest_path(), 1_u64 << 50)] {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it listens");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {USER}\r\ncontent-length: {length}\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut start = [0; 12];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut start))
            .await
            .expect("an answer")
            .expect("a head");
        assert_eq!(&start, b"HTTP/1.1 403", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_for_certain_models_is_for_no_others_and_for_nothing_that_names_none() {
    let engine = Engine::start(Script::Json(200, json!({}))).await;
    let file = format!(
        "keys: [{{id: admin, sha256: {}, scopes: [admin]}}]
access_rules: [{{id: some, models: [mine, 'base:latest'], permissions: [PERMISSION_ADMIN]}}]
upstreams: [{{id: engine, url: '{}'}}]",
        sha256(ADMIN),
        engine.url()
    );
    let gateway = Setup::new().with_bundle(&file).start().await;
    let admin = admin(&gateway);
    for (path, body, status) in [
        ("/api/create", json!({"model": "mine", "from": "base"}), 200),
        ("/api/create", json!({"model": "mine", "from": "other"}), 403),
        ("/api/create", json!({"model": "other", "from": "base"}), 403),
        ("/api/copy", json!({"source": "base", "destination": "mine"}), 200),
        ("/api/copy", json!({"source": "base", "destination": "other"}), 403),
        ("/api/copy", json!({"source": "other", "destination": "mine"}), 403),
        ("/api/pull", json!({"model": "other"}), 403),
        ("/api/pull", json!({"model": "BASE"}), 200),
        (&digest_path(), json!({}), 403),
    ] {
        let answer = admin.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
    }
    assert_eq!(engine.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_not_sent_to_a_foreign_host() {
    let (engine, gateway) = world("routes: {registries: [hf.co]}").await;
    let admin = admin(&gateway);
    for (path, body) in [
        ("/api/pull", json!({"model": "169.254.169.254/latest/meta-data"})),
        ("/api/pull", json!({"model": "evil.example/org/tiny"})),
        ("/api/pull", json!({"model": "http://hf.co/org/tiny", "insecure": true})),
        ("/api/pull", json!({"model": "hf.co/org/tiny", "insecure": true})),
        ("/api/push", json!({"model": "evil.example/org/tiny"})),
        ("/api/create", json!({"model": "mine", "from": "evil.example/org/tiny"})),
        ("/api/create", json!({"model": "mine", "from": "tiny", "remote_host": "https://evil.example"})),
        ("/api/create", json!({"model": "mine", "modelfile": "FROM evil.example/org/tiny"})),
    ] {
        let answer = admin.post(path, &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(answer.json()["error"].is_string(), "in Ollama's dialect: {}", answer.text());
    }
    assert!(engine.seen().is_empty());
    assert_eq!(admin.post("/api/pull", &json!({"model": "hf.co/org/tiny"})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_seen_as_it_is_made() {
    let (engine, gateway) = world("").await;
    let line = |text: &str| Step::Chunk(format!("{{\"status\":\"{text}\"}}\n").into());
    let steps = vec![line("pulling manifest"), Step::Wait, line("success"), Step::End];
    engine.set(Script::Stream("application/x-ndjson", steps));
    let mut progress = admin(&gateway).stream("/api/pull", &json!({"model": "tiny"})).await;
    assert_eq!(progress.next().await.expect("a piece").expect("one"), "{\"status\":\"pulling manifest\"}\n");
    engine.go_on(1);
    assert_eq!(progress.next().await.expect("a piece").expect("one"), "{\"status\":\"success\"}\n");
    assert_eq!(progress.next().await, Ok(None));
    assert_eq!(log_line(&gateway, "pull", "complete").await["status"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_engines_the_admin_names_the_one_that_is_meant() {
    let [first, second, other] = [0; 3].map(|_| Engine::start(Script::Json(200, json!({}))));
    let (first, second, other) = tokio::join!(first, second, other);
    let engines = format!(
        "[{{id: first, url: '{}'}}, {{id: second, url: '{}'}}, {{id: other, url: '{}', kind: UPSTREAM_KIND_VLLM}}]",
        first.url(),
        second.url(),
        other.url()
    );
    let gateway = Setup::new().with_bundle(&bundle(&engines, "")).start().await;
    let pull = async |name: Option<&str>| {
        let client =
            name.iter().fold(admin(&gateway), |client, name| client.with_header("x-attach-upstream", name));
        let answer = client.post("/api/pull", &json!({"model": "tiny"})).await;
        (answer.status.as_u16(), answer.text())
    };
    let (status, said) = pull(None).await;
    assert!(status == 400 && said.contains("X-Attach-Upstream"), "{said}");
    for unfit in ["third", "other", ""] {
        let (status, said) = pull(Some(unfit)).await;
        assert!(status == 404 && said.contains(unfit), "{said}");
    }
    assert_eq!(pull(Some("second")).await.0, 200);
    assert_eq!([&first, &second, &other].map(|engine| engine.seen().len()), [0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_no_more_than_its_own_bounds_and_no_more_than_its_holders_rules() {
    let engine = Engine::start(Script::Json(200, json!({"models": []}))).await;
    let file = format!(
        "keys:
  - {{id: user, sha256: {}, groups: [admins]}}
  - {{id: admin, sha256: {}, models: [mine], scopes: [read, admin]}}
access_rules:
  - {{id: admins, groups: [admins], permissions: [PERMISSION_ADMIN, PERMISSION_READ]}}
  - {{id: asking, permissions: [PERMISSION_INFERENCE]}}
upstreams: [{{id: engine, url: '{}'}}]",
        sha256(USER),
        sha256(ADMIN),
        engine.url()
    );
    let gateway = Setup::new().with_bundle(&file).start().await;
    // The rules give `admin`, but the key was made for less.
    assert_eq!(user(&gateway).post("/api/pull", &json!({"model": "mine"})).await.status, 403);
    assert_eq!(user(&gateway).get("/api/tags").await.status, 200);
    // The key was made for `read` and `admin` of one model, but its holder has neither.
    assert_eq!(admin(&gateway).post("/api/pull", &json!({"model": "mine"})).await.status, 403);
    assert_eq!(admin(&gateway).get("/api/tags").await.status, 403);
    assert_eq!(engine.seen().len(), 1);
}
