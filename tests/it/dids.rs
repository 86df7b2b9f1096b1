//! Callers that prove a DID: keys and tokens by the command line, taken by a real gateway.

use attach_tests::{
    Engine, Gateway,
    engine::samples,
    eventually,
    gateway::{Setup, did},
};
use serde_json::{Value, json};
use std::{path::Path, process::Command, time::Duration};

const AUDIENCE: &str = "https://llm.example";

fn chat() -> Value {
    json!({"model": "tiny", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
}

fn token(folder: &Path, key: &str, more: &[&str]) -> String {
    did(folder, &[&["token", "--key", key, "--audience", AUDIENCE], more].concat())
}

/// A gateway with tenants, as YAML has them.
async fn gateway(setup: Setup, engine: &Engine, tenants: &str) -> Gateway {
    setup
        .with_engine(engine)
        .with_bundle(&format!("quota_stores: [{{id: s, local: {{}}}}]\ntenants:\n{tenants}"))
        .start()
        .await
}

async fn answer(gateway: &Gateway, credential: &str) -> (u16, Value) {
    let answer = gateway.client().with_bearer(credential).post("/v1/chat/completions", &chat()).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_makes_a_key_and_a_token_and_is_served_and_recorded_by_its_did() {
    let engine = Engine::start(samples::openai_chat(7, 5)).await;
    let setup = Setup::new();
    let folder = setup.folder().to_owned();
    let dids =
        ["ed25519", "p256", "secp256k1"].map(|kind| did(&folder, &["new", "--type", kind, "--out", kind]));
    let stranger = did(&folder, &["new", "--out", "stranger"]);
    let tenants =
        format!("- {{id: acme, did: {{allowed: ['{}'], audiences: ['{AUDIENCE}']}}}}", dids.join("', '"));
    let gateway = gateway(setup, &engine, &tenants).await;
    for kind in ["ed25519", "p256", "secp256k1"] {
        let (status, body) = answer(&gateway, &token(&folder, kind, &[])).await;
        assert_eq!(status, 200, "{kind}: {body}");
    }
    let events = gateway.wait_events(3).await;
    for (event, did) in events.iter().zip(&dids) {
        let principal = &event["principal"];
        assert_eq!((&principal["subject"], &event["tenant"]), (&json!(did), &json!("acme")), "{event}");
        assert_eq!(principal["kind"], "PRINCIPAL_KIND_DID");
    }

    // The name alone, a key that is not allowed, another audience, and too long a life.
    let (status, body) = answer(&gateway, &dids[0]).await;
    assert_eq!(status, 401);
    assert!(
        body["error"]["message"].as_str().expect("a text").contains("DID alone proves nothing"),
        "{body}"
    );
    let other = did(&folder, &["token", "--key", "ed25519", "--audience", "https://other.example"]);
    for (credential, reason) in [
        (token(&folder, "stranger", &[]), "did_not_allowed"),
        (other, "did_audience"),
        (token(&folder, "ed25519", &["--for", "2h"]), "lifetime_too_long"),
        (stranger, "bare_did"),
    ] {
        assert_eq!(answer(&gateway, &credential).await.0, 401, "{reason}");
        eventually("the refusal is explained", Duration::from_secs(10), async || {
            gateway.access_log().contains(reason).then_some(())
        })
        .await;
    }
    assert_eq!(engine.seen().len(), 3);
    // Neither keys nor tokens are anywhere in what it wrote.
    let written = gateway.log() + &gateway.access_log();
    assert!(!written.contains("eyJ") && !written.contains("PRIVATE"), "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_serves_once_serves_once_whichever_core_gets_it() {
    let engine = Engine::start(samples::openai_chat(7, 5)).await;
    let setup = Setup::new().with_argument("--workers=4");
    let folder = setup.folder().to_owned();
    let alice = did(&folder, &["new", "--out", "alice"]);
    let tenants =
        format!("- {{id: acme, did: {{allowed: ['{alice}'], audiences: ['{AUDIENCE}'], one_time: true}}}}");
    let gateway = gateway(setup, &engine, &tenants).await;
    assert_eq!(answer(&gateway, &token(&folder, "alice", &[])).await.0, 401, "it has no id");
    // A token of the second in which the gateway began could have been used before.
    let used = eventually("a token is taken", Duration::from_secs(10), async || {
        let token = token(&folder, "alice", &["--one-time"]);
        (answer(&gateway, &token).await.0 == 200).then_some(token)
    })
    .await;
    for _ in 0..12 {
        assert_eq!(answer(&gateway, &used).await.0, 401);
    }
    assert_eq!(answer(&gateway, &token(&folder, "alice", &["--one-time"])).await.0, 200);
    gateway.wait_events(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_by_which_a_did_could_call_for_two_tenants_does_not_start() {
    let setup = Setup::new();
    let alice = did(setup.folder(), &["new", "--out", "alice"]);
    let policy = format!("did: {{allowed: ['{alice}'], audiences: ['{AUDIENCE}']}}");
    let any = format!("did: {{allowed: ['*'], audiences: ['{AUDIENCE}']}}");
    let bundle = format!(
        "tenants: [{{id: acme, {policy}}}, {{id: globex, {any}}}]\nquota_stores: [{{id: s, local: {{}}}}]"
    );
    let (code, said) = setup.with_bundle(&bundle).run();
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("tenants[1].did.allowed") && said.contains("may call for tenants[0] too"),
        "{said}"
    );
}

#[test]
fn a_key_is_never_written_over_and_a_mistake_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    did(folder, &["new", "--out", "key.pem"]);
    let before = std::fs::read(folder.join("key.pem")).expect("it was written");
    for (arguments, expected) in [
        (&["new", "--out", "key.pem"][..], "key.pem: is there already; a key is never written over"),
        (&["new", "--out", "no/such/folder"], "no/such/folder: No such file"),
        (&["token", "--key", "none.pem", "--audience", "a"], "none.pem: is no private key in PEM"),
        (&["token", "--key", "key.pem", "--audience", "a", "--for", "soon"], "must be a time such as 90s"),
        (&["token", "--key", "key.pem", "--audience", "a", "--for=-5m"], "must be a time such as 90s"),
        (&["token", "--key", "key.pem"], "--audience"),
        (&["new", "--out", "b", "--type", "rsa"], "[possible values: ed25519, p256, secp256k1]"),
    ] {
        let output = Command::new(attach_tests::gateway::binary())
            .arg("did")
            .args(arguments)
            .current_dir(folder)
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(std::fs::read(folder.join("key.pem")).expect("it is there"), before);
}
