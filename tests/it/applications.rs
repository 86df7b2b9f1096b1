//! Applications that call for their users over one key, as Open WebUI does with `ENABLE_FORWARD_USER_INFO_HEADERS=true`.
//!
//! Open WebUI itself is no part of these tests; its requests are, header by header.

use attach_tests::{
    Answer, Client, ControlPlane, Engine, Gateway, engine::samples, eventually, gateway::Setup,
};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A user of Open WebUI: its own id for them, their name (percent-encoded but for blanks) and address.
type User = (&'static str, &'static str, &'static str);

const ADA: User = ("0f5a7c1e-6a1b-4f0e-9d53-2b7d8f1c9e01", "Ada L%C3%B6f", "ada@acme.example");
const BOB: User = ("c1d2e3f4-0a9b-4c8d-8e7f-6a5b4c3d2e1f", "Bob", "bob@acme.example");

/// What Open WebUI sends to an OpenAI-compatible connection, by aiohttp.
fn open_webui(gateway: &Gateway, key: &str, (id, name, email): User) -> Client {
    gateway
        .client()
        .with_header("accept", "*/*")
        .with_header("accept-encoding", "gzip, deflate, br")
        .with_header("user-agent", "Python/3.11 aiohttp/3.12.15")
        .with_header("content-type", "application/json")
        .with_bearer(key)
        .with_header("X-OpenWebUI-User-Name", name)
        .with_header("X-OpenWebUI-User-Id", id)
        .with_header("X-OpenWebUI-User-Email", email)
        .with_header("X-OpenWebUI-User-Role", "admin")
        .with_header("X-OpenWebUI-Chat-Id", "7f1f0c1c-0d52-4f0c-b9b3-9a8e4e3f7a10")
}

async fn chat(client: &Client) -> Answer {
    let body = json!({
        "stream": true,
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "stream_options": {"include_usage": true},
    });
    client.post("/v1/chat/completions", &body).await
}

async fn plain_chat(client: &Client) -> Answer {
    client.post("/v1/chat/completions", &json!({"model": "tiny", "messages": []})).await
}

/// Two tenants with an application each, and a key that may name nobody.
fn bundle(engine: &Engine) -> Setup {
    let key = |tenant: &str, id: &str, scopes: &str| {
        let hash = sha256(&format!("sk-{id}-0123456789"));
        format!(
            "  - {{tenant: {tenant}, id: {id}, owner: the-{id}, sha256: {hash}, scopes: [{scopes}], groups: [apps]}}\n"
        )
    };
    let keys = [
        key("acme", "webui", "inference, read, act_as"),
        key("acme", "other", "inference, act_as"),
        key("acme", "plain", "inference"),
        key("globex", "foreign", "inference, act_as"),
    ];
    let bundle = format!(
        "
tenants: [{{id: acme}}, {{id: globex}}]
keys:
{}
limits:
  - {{tenant: acme, id: each, counter: COUNTER_EACH_PRINCIPAL, measure: MEASURE_REQUESTS, window: 3600s, amount: 2, scope: {{groups: [apps]}}}}
  - {{tenant: acme, id: all, counter: COUNTER_SHARED, measure: MEASURE_REQUESTS, window: 3600s, amount: 7, scope: {{keys: [webui]}}}}
",
        keys.concat()
    );
    Setup::new().with_bundle(&bundle).with_engine(engine)
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_of_open_webui_over_one_key_have_two_bills_and_two_limits() {
    let Some(plane) = ControlPlane::start().await else { return };
    let post = async |path: &str, body: Value| plane.call(Method::POST, path, body).await;
    post("/quota-stores", json!({"id": "memory", "kind": "local"})).await;
    post("/pools", json!({"id": "main", "name": "Main"})).await;
    post("/tenants", json!({"id": "acme", "name": "Acme", "quota_store": "memory", "pool": "main"})).await;
    let limit =
        json!({"counter": "each_principal", "measure": "requests", "amount": 2, "window_seconds": 3600});
    let new = json!({"name": "Open WebUI", "owner": "it", "scopes": ["inference", "read", "act_as"], "limits": [limit]});
    let issued = post("/tenants/acme/api-keys", new).await;
    let (id, key) = (issued["id"].as_str().expect("an id"), issued["secret"].as_str().expect("a secret"));
    let engine = Engine::start(samples::openai_stream(7, 5)).await;
    let gateway = Setup::new().with_engine(&engine).with_join(&plane.join_line("main")).start().await;
    eventually("the gateway is ready", PATIENCE, async || {
        (gateway.admin().get("/readyz").await.status == 200).then_some(())
    })
    .await;

    let (ada, bob) = (open_webui(&gateway, key, ADA), open_webui(&gateway, key, BOB));
    let mut statuses = Vec::new();
    for user in [&ada, &bob, &ada, &ada, &bob, &bob, &ada] {
        statuses.push(chat(user).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 200, 429, 429], "each has two of their own");
    // The gateway itself asks the engine how it is.
    let seen: Vec<_> = engine.seen().into_iter().filter(|seen| seen.method == "POST").collect();
    let names: Vec<_> = seen.iter().map(|seen| seen.headers["x-attach-user"].clone()).collect();
    assert_eq!(names, [[ADA.0], [BOB.0], [ADA.0], [BOB.0]]);
    for seen in &seen {
        let given = seen.headers.keys().find(|name| name.starts_with("x-openwebui-user"));
        assert_eq!(given, None, "whom the caller named is not the engine's to believe");
    }
    for event in gateway.wait_events(4).await {
        assert_eq!(
            (&event["principal"]["delegated_by"], &event["principal"]["key"]),
            (&json!(id), &json!(id)),
            "{event}"
        );
    }

    // A user's kind is 1.
    let rows =
        "select subject, principal_kind, sum(requests), sum(quantity) filter (where kind = 'output_tokens')
        from usage_hour group by 1, 2 order by 1";
    let expected = format!("{}|1|2|10\n{}|1|2|10", ADA.0, BOB.0);
    eventually("both are billed", PATIENCE, async || {
        (plane.database.as_superuser(rows).expect("the superuser may") == expected).then_some(())
    })
    .await;
    let events = "select distinct key_id from usage_event";
    assert_eq!(plane.database.as_superuser(events).expect("the superuser may"), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn inventing_users_is_no_way_out_of_the_limit_of_the_key_nor_of_its_groups() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = bundle(&engine).start().await;
    let mut served = 0;
    for number in 0..20 {
        let client = gateway.client().with_bearer("sk-webui-0123456789");
        let client = client.with_header("x-attach-on-behalf-of", &format!("user-{number}"));
        let answer = plain_chat(&client).await;
        served += usize::from(answer.status == 200);
        assert!(answer.status == 200 || answer.text().contains("'all'"), "{}", answer.text());
    }
    assert_eq!(served, 7);
    // The limit of the group `apps` holds for whom its keys name.
    let ada = gateway.client().with_bearer("sk-other-0123456789").with_header("x-attach-on-behalf-of", "ada");
    let statuses =
        [plain_chat(&ada).await.status, plain_chat(&ada).await.status, plain_chat(&ada).await.status];
    assert_eq!(statuses.map(|status| status.as_u16()), [200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_name_users_is_billed_itself_whatever_it_says_and_the_engine_hears_nothing_of_it() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = bundle(&engine).start().await;
    let spoofing = open_webui(&gateway, "sk-plain-0123456789", ADA)
        .with_header("x-attach-on-behalf-of", "root")
        .with_header("x_openwebui_user_id", "root");
    assert_eq!(plain_chat(&spoofing).await.status, 200);
    let [seen] = engine.seen().try_into().expect("one request");
    assert_eq!(seen.headers["x-attach-user"], ["the-plain"]);
    let leaked = seen
        .headers
        .keys()
        .find(|name| name.contains("user-id") || name.contains("user_id") || name.contains("behalf"));
    assert_eq!(leaked, None);
    let [event] = gateway.wait_events(1).await.try_into().expect("one event");
    assert_eq!(
        (&event["principal"]["subject"], &event["principal"]["delegated_by"]),
        (&json!("the-plain"), &Value::Null),
        "{event}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_names_users_of_its_own_tenant_only_and_not_two_at_once() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = bundle(&engine).start().await;
    let foreign = open_webui(&gateway, "sk-foreign-0123456789", ADA).with_header("x-attach-tenant", "acme");
    assert_eq!(plain_chat(&foreign).await.status, 200);
    let [seen] = engine.seen().try_into().expect("one request");
    assert_eq!(
        (&seen.headers["x-attach-tenant"], &seen.headers["x-attach-user"]),
        (&vec!["globex".to_owned()], &vec![ADA.0.to_owned()])
    );

    let webui = || open_webui(&gateway, "sk-webui-0123456789", ADA);
    let long = "x".repeat(256);
    for (client, expected) in [
        (webui().with_header("x-attach-on-behalf-of", "bob"), "two users"),
        (webui().with_header("x-openwebui-user-id", ADA.0), "twice"),
        (webui().with_header("x-attach-on-behalf-of", ""), "empty"),
        (webui().with_header("x-attach-on-behalf-of", &long), "longer than 255 bytes"),
        (webui().with_header("x-attach-on-behalf-of", "a%0Ab"), "control character"),
    ] {
        let answer = plain_chat(&client).await;
        assert_eq!(answer.status, 400, "{expected}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "invalid_end_user");
        assert!(answer.text().contains(expected), "{expected}: {}", answer.text());
    }
    assert_eq!(engine.seen().len(), 1);
}
