//! What the operator opened, with `routes.allow`.

use super::{USER, admin, bundle, status_of, user, world};
use attach_tests::{
    engine::samples,
    gateway::{Setup, quantity},
};
use serde_json::{Value, json};

const OPENED: &str = "
routes:
  allow:
    - {path: '/v1/audio/*', methods: [POST], permission: PERMISSION_INFERENCE, metering: METERING_REQUESTS}
    - {path: /v1/fim, methods: [POST], permission: PERMISSION_INFERENCE, metering: METERING_USAGE}
    - {path: /version, methods: [GET], permission: PERMISSION_READ, metering: METERING_NONE}
    - {path: /v1/secrets, methods: [GET, PUT], permission: PERMISSION_ADMIN, metering: METERING_NONE, dialect: DIALECT_ANTHROPIC}
limits:
  - {id: calls, counter: COUNTER_EACH_PRINCIPAL, measure: MEASURE_REQUESTS, window: 60s, amount: 4}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_opened_is_let_through_with_its_permission_and_metering() {
    let (engine, gateway) = world(OPENED).await;
    let form = user(&gateway).with_header("content-type", "multipart/form-data; boundary=b");
    let body = "--b\r\nno JSON: \u{1}\r\n--b--";
    let answer = form.post_raw("/v1/audio/transcriptions?x=1", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = engine.seen().pop().expect("the engine has it");
    assert_eq!(seen.target, "/v1/audio/transcriptions?x=1");
    assert_eq!(seen.header("content-type"), Some("multipart/form-data; boundary=b"));
    assert_eq!(seen.body, body.as_bytes());
    assert_eq!(seen.header("authorization"), None);

    let version = user(&gateway).get("/version").await;
    assert_eq!(version.status, 200, "{}", version.text());

    engine.set(samples::openai_chat(11, 7));
    let answer = user(&gateway).post("/v1/fim", &json!({"model": "tiny", "prompt": "x"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((answer.header("x-tokens-in"), answer.header("x-tokens-out")), (Some("11"), Some("7")));
    let streamed = user(&gateway).post("/v1/fim", &json!({"model": "tiny", "stream": true})).await;
    assert!(streamed.status == 400 && streamed.text().contains("stream"), "{}", streamed.text());

    let events = gateway.wait_events(2).await;
    assert_eq!(events[0]["operation"], "/v1/audio/*");
    assert_eq!((&events[0]["measures"], &events[0]["model"]), (&Value::Null, &Value::Null));
    assert_eq!(events[1]["operation"], "/v1/fim");
    assert_eq!(
        (quantity(&events[1], "input_tokens"), quantity(&events[1], "output_tokens")),
        (Some(11), Some(7))
    );

    for _ in 0..2 {
        assert_eq!(form.post_raw("/v1/audio/speech", "{}").await.status, 200);
    }
    assert_eq!(form.post_raw("/v1/audio/speech", "{}").await.status, 429, "limits on requests hold");
    assert_eq!(user(&gateway).get("/version").await.status, 200, "and are not about what is not metered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_opened_opens_nothing_beside_it() {
    let (engine, gateway) = world(OPENED).await;
    let user = user(&gateway);
    for path in ["/v1/audio", "/v1/audio/", "/v1/images", "/v1/fim/x"] {
        assert_eq!(status_of(&gateway, "POST", path, Some(USER)).await, 404, "{path}");
    }
    // What could be read in two ways gets no further than the front.
    for path in ["/v1/audio/../fim", "/v1/audio/%2e%2e/x", "/v1/audio//x"] {
        assert_eq!(status_of(&gateway, "POST", path, Some(USER)).await, 400, "{path}");
    }
    let answer = user.get("/v1/fim").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("POST")));
    let answer = user.get("/v1/secrets").await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["error"]["type"], "permission_error", "in its own dialect");
    let answer = admin(&gateway).post("/v1/secrets", &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET, HEAD, PUT")));
    assert_eq!(admin(&gateway).get("/v1/audio/x").await.status, 405);
    assert!(engine.seen().is_empty());
    assert_eq!(admin(&gateway).get("/v1/secrets").await.status, 200);
}

#[test]
fn a_route_that_may_not_be_opened_is_told_at_the_start() {
    for (path, said) in [
        ("/pause", "never let through"),
        ("/v1/load_lora_adapter", "never let through"),
        ("/api/chat", "knows already"),
        ("/v1/../x", "plainly"),
    ] {
        let routes = format!(
            "routes: {{allow: [{{path: {path}, methods: [POST], permission: PERMISSION_READ, metering: METERING_NONE}}]}}"
        );
        let setup = Setup::new().with_bundle(&bundle("[{url: 'http://127.0.0.1:1'}]", &routes));
        let (code, text) = setup.run();
        assert_eq!(code, Some(78), "{path}: {text}");
        assert!(text.contains("routes.allow[0].path") && text.contains(said), "{path}: {text}");
    }
}
