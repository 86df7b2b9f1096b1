//! Pages in a browser that call the gateway from another origin.

use attach_tests::{Answer, Engine, Gateway, Script, gateway::Setup};
use http::Method;
use serde_json::json;

const KEY: &str = "sk-test-0123456789";
const PAGE: &str = "https://app.example.com";

async fn world(origins: &str) -> (Engine, Gateway) {
    let engine = Engine::start(Script::Raw(vec![attach_tests::engine::Step::Bytes(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\naccess-control-allow-origin: *\r\n\
         access-control-allow-credentials: true\r\ncontent-length: 13\r\n\r\n{\"models\":[]}"
            .into(),
    )]))
    .await;
    let setup = Setup::new().with_keys(&[KEY]).with_engine(&engine);
    let setup = if origins.is_empty() { setup } else { setup.with("CORS_ORIGINS", origins) };
    let gateway = setup.start().await;
    (engine, gateway)
}

async fn preflight(gateway: &Gateway, origin: &str) -> Answer {
    let page = gateway.client().with_header("origin", origin);
    let page = page.with_header("access-control-request-method", "POST");
    let page =
        page.with_header("access-control-request-headers", "authorization,content-type,x-stainless-os");
    page.send(Method::OPTIONS, "/v1/chat/completions", "").await.whole().await
}

fn varies_by_origin(answer: &Answer) -> bool {
    answer.headers.get_all("vary").iter().any(|value| value == "origin")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_listed_asks_without_a_credential_and_reads_answers_and_refusals() {
    let (engine, gateway) = world("http://localhost:3000, https://app.example.com").await;
    let asked = preflight(&gateway, PAGE).await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        asked.header("access-control-allow-headers"),
        Some("authorization,content-type,x-stainless-os")
    );
    assert!(asked.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    assert!(asked.header("access-control-max-age").is_some() && varies_by_origin(&asked));

    let page = gateway.client().with_header("origin", PAGE);
    let answers = [
        (200, page.clone().with_bearer(KEY).get("/api/tags").await),
        (401, page.get("/api/tags").await),
        (404, page.get("/no/such/route").await),
        (400, page.clone().with_bearer(KEY).post("/v1/chat/completions", &json!({})).await),
        (400, page.get("//api/tags").await),
        (200, page.get("/health").await),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{status}");
        assert!(varies_by_origin(&answer), "{status}");
        let exposed = answer.header("access-control-expose-headers").expect("some");
        assert!(exposed.contains("x-request-id") && exposed.contains("x-ratelimit-remaining-tokens"));
        assert!(answer.header("access-control-allow-credentials").is_none());
    }
    assert!(engine.seen().iter().all(|seen| seen.header("origin").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_listed_gets_no_leave() {
    let (_engine, gateway) = world(PAGE).await;
    for origin in
        ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"]
    {
        let asked = preflight(&gateway, origin).await;
        assert!(
            asked.status.is_client_error() && asked.header("access-control-allow-origin").is_none(),
            "{origin}"
        );
        let answer = gateway.client().with_header("origin", origin).with_bearer(KEY).get("/api/tags").await;
        assert!(
            answer.header("access-control-allow-origin").is_none() && varies_by_origin(&answer),
            "{origin}"
        );
    }
    let without = gateway.client().with_bearer(KEY).get("/api/tags").await;
    assert!(without.header("access-control-allow-origin").is_none() && varies_by_origin(&without));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_may_call_where_that_is_said_and_none_where_nothing_is() {
    let (_engine, gateway) = world("*").await;
    assert_eq!(preflight(&gateway, PAGE).await.header("access-control-allow-origin"), Some("*"));
    let answer = gateway.client().with_header("origin", PAGE).with_bearer(KEY).get("/api/tags").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(answer.header("access-control-allow-credentials").is_none());

    let (_engine, gateway) = world("").await;
    assert!(preflight(&gateway, PAGE).await.status.is_client_error());
    let answer = gateway.client().with_header("origin", PAGE).with_bearer(KEY).get("/api/tags").await;
    // What the engine says of pages is said of itself, not of the gateway.
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
}

#[test]
fn an_origin_that_no_browser_writes_is_refused_at_the_start() {
    for wrong in ["app.example.com", "https://app.example.com/", "*,https://app.example.com"] {
        let (code, text) = Setup::new().with_keys(&[KEY]).with("CORS_ORIGINS", wrong).run();
        assert_eq!(code, Some(78));
        assert!(text.contains("CORS_ORIGINS"), "{text}");
    }
}
