//! Why somebody is refused: on the gateway's host, by the API and in the console. Whatever is said, no part of a secret is in it.

use attach_tests::{
    Client, ControlPlane, Engine, Gateway, Issuer, engine::samples, eventually, gateway::Setup,
    issuer::AUDIENCE,
};
use http::Method;
use serde_json::{Value, json};
use std::{os::unix::fs::PermissionsExt as _, time::Duration};

const KEY: &str = "sk-test-0123456789";

/// Longest text of a secret that may stand somewhere by chance.
const CHANCE: usize = 12;

/// What the gateway that runs says of it.
fn explained(gateway: &Gateway, credential: &str) -> Value {
    let output = gateway.command_with(&["explain", "--json", "-"], credential);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_hidden(&text, credential);
    serde_json::from_str(&text).expect("JSON")
}

/// That no piece of the credential's secret parts is in the text: of a token its claims and its signature, of a key all of it.
fn assert_hidden(text: &str, credential: &str) {
    for part in credential.split(['.', ' ']).skip(usize::from(credential.contains('.'))) {
        for at in 0..part.len().saturating_sub(CHANCE) {
            assert!(!text.contains(&part[at..at + CHANCE]), "{} is in: {text}", &part[at..at + CHANCE]);
        }
    }
}

/// The codes of the checks with this outcome.
fn codes(explanation: &Value, outcome: &str) -> Vec<String> {
    let checks = explanation["checks"].as_array().expect("a list");
    let of = checks.iter().filter(|check| check["outcome"] == format!("CHECK_OUTCOME_{outcome}"));
    of.map(|check| check["code"].as_str().expect("a code").to_owned()).collect()
}

fn fact<'a>(explanation: &'a Value, name: &str) -> Option<&'a str> {
    let facts = explanation["caller"].as_array()?;
    facts.iter().find(|fact| fact["name"] == name)?["values"][0].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_that_runs_says_how_a_credential_fares_and_what_to_change() {
    let issuer = Issuer::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let gateway = Setup::new().with_issuer(&issuer).with_keys(&[KEY]).with_engine(&engine).start().await;

    let good = issuer.token("alice");
    let explanation = explained(&gateway, &format!("Authorization: Bearer {good}\n"));
    assert_eq!((&explanation["accepted"], fact(&explanation, "subject")), (&json!(true), Some("alice")));
    assert_eq!(fact(&explanation, "may"), Some("inference"));
    assert!(fact(&explanation, "limits").expect("the usual limit").contains("60000 tokens"));

    let bad = issuer.token_with("alice", &json!({"aud": "another", "exp": 1_700_000_000}));
    let explanation = explained(&gateway, &bad);
    assert_eq!(codes(&explanation, "FAILED"), ["wrong_audience"]);
    assert_eq!(codes(&explanation, "ALSO_FAILS"), ["expired"]);
    assert!(explanation.get("caller").is_none(), "{explanation}");
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(codes(&explained(&gateway, &forged), "FAILED").len(), 1);
    assert!(explained(&gateway, &forged).get("verified").is_none());
    let text = gateway.command_with(&["explain", "-"], &bad);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_hidden(&text, &bad);
    for expected in ["REFUSED", "FAIL  ", "would also fail", "\"another\"", "To change: Ask for a token"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }

    // A key of another maker's form looks as a request id does; one that nobody knows is not repeated.
    let key = gateway.command(&["explain", "--json", KEY]);
    let key = String::from_utf8_lossy(&key.stdout).into_owned();
    assert!(key.contains("API key") && key.contains("\"accepted\":true"), "{key}");
    assert_hidden(&key, KEY);
    let unknown = gateway.command(&["explain", "sk-unknown-0123456789"]);
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && error.contains("no refusal with this id"), "{error}");
    assert_hidden(&error, "sk-unknown-0123456789");
    let damaged = explained(&gateway, "atk_0123456789abcdef_damaged");
    assert_eq!(codes(&damaged, "FAILED"), ["malformed_api_key"]);

    // Nothing was served, recorded or written down by that; and nobody else may ask.
    assert!(engine.seen().is_empty() && gateway.events().is_empty());
    let written = gateway.log() + &gateway.access_log();
    [&good, &bad, &forged].into_iter().for_each(|token| assert_hidden(&written, token));
    let socket = std::fs::metadata(gateway.state().join("explain.socket")).expect("a socket");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let metrics = gateway.admin().get("/metrics").await.text();
    assert!(!metrics.contains("wrong_audience"), "an explanation is no refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_that_runs_it_is_said_what_to_do() {
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let mut gateway = Setup::new().with_keys(&[KEY]).with_engine(&engine).start().await;
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    gateway.wait_end(Duration::from_secs(20)).await;
    let output = gateway.command_with(&["explain", "-"], "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("no gateway runs on") && error.contains("--state"),
        "{error}"
    );
    // It is there again with the next process, whatever the last one left.
    let gateway = gateway.restart_after_kill().await;
    assert_eq!(
        explained(&gateway, "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.")["kind"],
        "token of an identity provider"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_serves_once_is_not_used_up_by_being_explained() {
    let engine = Engine::start(samples::openai_chat(7, 5)).await;
    let setup = Setup::new();
    let did = |arguments: &[&str]| attach_tests::gateway::did(setup.folder(), arguments);
    let alice = did(&["new", "--out", "alice"]);
    let policy = format!("{{allowed: ['{alice}'], audiences: [here], one_time: true}}");
    let bundle = format!("quota_stores: [{{id: s, local: {{}}}}]\ntenants: [{{id: acme, did: {policy}}}]\n");
    let gateway = setup.clone().with_engine(&engine).with_bundle(&bundle).start().await;
    let token = eventually("a token is good", Duration::from_secs(10), async || {
        let token = did(&["token", "--key", "alice", "--audience", "here", "--one-time"]);
        (explained(&gateway, &token)["accepted"] == true).then_some(token)
    })
    .await;
    for _ in 0..3 {
        assert_eq!(explained(&gateway, &token)["accepted"], true);
    }
    let ask = json!({"model": "tiny", "messages": [{"role": "user", "content": "hi"}]});
    let status = gateway.client().with_bearer(&token).post("/v1/chat/completions", &ask).await.status;
    assert_eq!(status, 200);
    assert_eq!(codes(&explained(&gateway, &token), "FAILED"), ["replayed"]);
}

/// One pool that serves `acme` and `globex`, each with an issuer, and two gateways in it.
struct World {
    plane: ControlPlane,
    issuers: [Issuer; 2],
    gateways: Vec<Gateway>,
    _engine: Engine,
}

async fn world() -> Option<World> {
    let plane = ControlPlane::start().await?;
    let (issuers, engine) =
        ([Issuer::start().await, Issuer::start().await], Engine::start(samples::openai_chat(7, 5)).await);
    plane.call(Method::POST, "/quota-stores", json!({"id": "memory", "kind": "local"})).await;
    plane.call(Method::POST, "/pools", json!({"id": "main", "name": "Main"})).await;
    for (tenant, issuer) in ["acme", "globex"].into_iter().zip(&issuers) {
        let body = json!({"id": tenant, "name": tenant, "quota_store": "memory", "pool": "main"});
        plane.call(Method::POST, "/tenants", body).await;
        let body = json!({"issuer": issuer.url(), "audiences": [AUDIENCE], "algorithms": ["RS256"]});
        plane.call(Method::PUT, &format!("/tenants/{tenant}/identity-providers/idp"), body).await;
    }
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let setup = Setup::new().with("ALLOW_ADDRESSES", "127.0.0.1").with_engine(&engine);
        gateways.push(setup.with_join(&plane.join_line("main")).start().await);
    }
    for gateway in &gateways {
        eventually("the gateway is ready", Duration::from_secs(20), async || {
            let ready = gateway.admin().send(Method::GET, "/readyz", "").await.whole().await;
            (ready.status == 200).then_some(())
        })
        .await;
    }
    Some(World { plane, issuers, gateways, _engine: engine })
}

/// Of values that stand in a form as they are: tokens, ids and the form's own secret.
fn encoded(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The page that answers the form.
async fn console(client: &Client, tenant: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let path = format!("/tenants/{tenant}/explain");
    let page = client.get(&path).await.text();
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
    let csrf = rest.split('"').next().expect("a value");
    let answer = client.post_raw(&path, encoded(&[fields, &[("csrf", csrf)]].concat())).await;
    (answer.status.as_u16(), answer.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_and_the_api_ask_the_tenant_s_gateways_which_tell_nothing_of_another_tenant() {
    let Some(World { plane, issuers: [acme, globex], gateways, _engine }) = world().await else { return };
    let ask = async |tenant: &str, body: Value| {
        plane.call(Method::POST, &format!("/tenants/{tenant}/explain"), body).await
    };
    let good = acme.token("alice");
    let of_acme = ask("acme", json!({"credential": good})).await;
    assert_eq!(of_acme["answers"].as_array().map(Vec::len), Some(1), "they agree: {of_acme}");
    let answer = &of_acme["answers"][0];
    assert_eq!(answer["agents"].as_array().map(Vec::len), Some(gateways.len()));
    assert_eq!(answer["explanation"]["accepted"], true, "{of_acme}");
    assert_hidden(&of_acme.to_string(), &good);

    // What is another tenant's is to this one what nobody has heard of.
    let foreign = ask("acme", json!({"credential": globex.token("bob")})).await;
    let checks = foreign["answers"][0]["explanation"]["checks"].as_array().expect("checks");
    let failed = checks.iter().find(|check| check["outcome"] == "failed").expect("one fails");
    assert_eq!(failed["code"], "unknown_issuer");
    assert!(!foreign.to_string().contains("globex"), "{foreign}");

    let expired = acme.token_with("alice", &json!({"exp": 1_700_000_000}));
    let client = plane.console().await;
    let (status, page) = console(&client, "acme", &[("credential", &expired), ("request_id", "")]).await;
    assert_eq!(status, 200, "{page}");
    for expected in ["refused", "It has begun, and has not ended", "To change:", "`exp` is 1700000000"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    assert_hidden(&page, &expired);

    // A request that was refused: by the gateway that refused it alone, and only where its caller was known or can be no other's.
    let ask_admin = json!({"model": "tiny"});
    let refused = gateways[0].client().with_bearer(&good).with_header("x-request-id", "refused-here");
    assert_eq!(refused.post("/api/pull", &ask_admin).await.status, 403);
    let stranger = gateways[0].client().with_bearer("nobody-s").with_header("x-request-id", "unknown-here");
    assert_eq!(stranger.get("/api/tags").await.status, 401);
    eventually("the refusal is told", Duration::from_secs(10), async || {
        let (_, page) = console(&client, "acme", &[("request_id", "refused-here")]).await;
        (page.contains("<dd>refused-here</dd>") && page.contains("not found")).then_some(())
    })
    .await;
    let (_, page) = console(&client, "globex", &[("request_id", "refused-here")]).await;
    assert!(!page.contains("<dd>refused-here</dd>") && !page.contains("alice"), "{page}");
    eventually("that there is one is told", Duration::from_secs(10), async || {
        let (_, page) = console(&client, "acme", &[("request_id", "unknown-here")]).await;
        (page.contains("was not identified") && !page.contains("<dd>unknown-here</dd>")).then_some(())
    })
    .await;

    // A token in the field for ids is not shown again, and not looked for.
    let (status, page) = console(&client, "acme", &[("request_id", &good)]).await;
    assert_eq!(status, 422, "{page}");
    assert_hidden(&page, &good);

    // On record is that it was asked, and what of: no part of a token, wherever one could be kept.
    let trail = plane.call(Method::GET, "/tenants/acme/audit", Value::Null).await.to_string();
    assert!(trail.contains("\"explain\"") && trail.contains("credential sha256:"), "{trail}");
    assert!(trail.contains("request sha256:") && !trail.contains("refused-here"), "{trail}");
    let kept = plane.database.as_superuser("select string_agg(e::text, '') from audit_entry e");
    let kept = kept.expect("the superuser may") + &plane.log() + &gateways[0].log() + &gateways[1].log();
    [&good, &expired].into_iter().for_each(|token| assert_hidden(&kept, token));
    assert_eq!(plane.api().send(Method::POST, "/api/v1/tenants/nobody/explain", "{}").await.status, 415);
}
