//! Over real sockets, on a real Postgres.

use super::*;
use crate::router::tests::Served;
use attach_tests::Answer;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is wrong with which field, as a program reads it.
fn pointers(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().filter_map(|error| error["pointer"].as_str().map(str::to_owned)).collect()
}

async fn send(served: &Served, method: Method, path: &str, body: &Value) -> Answer {
    let client = served.operator().with_header("content-type", "application/json");
    client.send(method, &format!("{PREFIX}{path}"), body.to_string()).await.whole().await
}

async fn get(served: &Served, path: &str) -> Answer {
    served.operator().get(&format!("{PREFIX}{path}")).await
}

async fn post(served: &Served, path: &str, body: &Value) -> Answer {
    send(served, Method::POST, path, body).await
}

async fn put(served: &Served, path: &str, body: &Value) -> Answer {
    send(served, Method::PUT, path, body).await
}

async fn delete(served: &Served, path: &str) -> Answer {
    send(served, Method::DELETE, path, &Value::Null).await
}

fn limit() -> Value {
    json!({ "counter": "each_principal", "measure": "total_tokens", "amount": 60_000, "window_seconds": 60 })
}

fn provider() -> Value {
    json!({ "issuer": "https://login.example/", "audiences": ["api"] })
}

#[tokio::test]
async fn without_the_operators_token_there_is_nothing_but_the_description() {
    let Some(served) = Served::start().await else { return };
    for client in [
        served.anybody(),
        served.anybody().with_bearer("ato_nobody"),
        served.anybody().with_bearer(""),
        served.anybody().with_header("authorization", &format!("Basic {}", served.token)),
    ] {
        let answer = client.get(&format!("{PREFIX}/tenants")).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.json()["code"], "unauthenticated");
    }
    assert_eq!(served.anybody().get(&format!("{PREFIX}/openapi.json")).await.status, 200);
}

#[tokio::test]
async fn a_new_token_ends_the_one_before() {
    let Some(served) = Served::start().await else { return };
    let db = &served.world.db;
    let new = crate::ops::make_operator_token(db, &served.world.operator, served.now()).await.unwrap();
    assert_eq!(get(&served, "/tenants").await.status, 401);
    let answer = served.anybody().with_bearer(new.as_str()).get(&format!("{PREFIX}/tenants")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn every_route_is_in_the_description_and_every_described_one_wants_the_token() {
    let Some(served) = Served::start().await else { return };
    let description = served.anybody().get(&format!("{PREFIX}/openapi.json")).await.json();
    assert_eq!(description["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let paths = description["paths"].as_object().unwrap();
    for (path, operations) in paths {
        // Any id will do: who may not ask is not told what there is.
        let address = path.replace(['{', '}'], "");
        for (method, operation) in operations.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = served.anybody().send(method.clone(), &address, "").await.whole().await;
            assert_eq!(answer.status, 401, "{method} {path}");
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} is there twice");
            assert!(operation["responses"]["default"].is_object(), "{id}");
        }
    }
    // The sources name each route once, in one macro: what is not in it has no handler.
    let handlers = include_str!("mod.rs").split("routes!(").skip(1).map(|rest| {
        let list = rest.split(')').next().unwrap();
        list.split(',').count()
    });
    assert_eq!(handlers.sum::<usize>(), ids.len());
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for reference in description.to_string().split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is described nowhere");
    }
}

#[tokio::test]
async fn a_tenant_is_made_read_and_changed() {
    let Some(served) = Served::start().await else { return };
    let new = json!({ "id": "initech", "name": "Initech", "quota_store": "local", "pool": "main" });
    let made = post(&served, "/tenants", &new).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["on_quota_outage"], "deny");
    assert_eq!(post(&served, "/tenants", &new).await.status, 409);
    let patch = json!({ "on_quota_outage": "allow" });
    let changed = send(&served, Method::PATCH, "/tenants/initech", &patch).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let read = get(&served, "/tenants/initech").await.json();
    assert_eq!((&read["name"], &read["on_quota_outage"]), (&json!("Initech"), &json!("allow")));
    assert_eq!(send(&served, Method::PATCH, "/tenants/nobody", &patch).await.status, 404);
}

#[tokio::test]
async fn a_wrong_body_is_told_where_it_is_wrong() {
    let Some(served) = Served::start().await else { return };
    let tenant = |change: Value| {
        let mut new = json!({ "id": "x", "name": "X", "quota_store": "local", "pool": "main" });
        for (name, value) in change.as_object().unwrap() {
            new[name] = value.clone();
        }
        new
    };
    let scoped = |models: Value| {
        let mut limit = limit();
        limit["scope"] = json!({ "models": models });
        limit
    };
    let changed = |name: &str, value: Value| {
        let mut limit = limit();
        limit[name] = value;
        limit
    };
    let opened = |path: &str, method: &str| {
        let route =
            json!({ "path": path, "methods": [method], "permission": "inference", "metering": "requests" });
        json!({ "allow": [route] })
    };
    let wrong = [
        (Method::POST, "/tenants", tenant(json!({ "id": "a b" })), "/id"),
        (Method::POST, "/tenants", tenant(json!({ "id": 5 })), "/id"),
        (Method::POST, "/tenants", tenant(json!({ "name": "" })), "/name"),
        (Method::POST, "/tenants", tenant(json!({ "name": "x".repeat(201) })), "/name"),
        (Method::POST, "/tenants", tenant(json!({ "colour": "red" })), "/colour"),
        (Method::POST, "/tenants", tenant(json!({ "durability": "so-so" })), "/durability"),
        (Method::POST, "/tenants", tenant(json!({ "durability": true })), "/durability"),
        (Method::POST, "/tenants", tenant(json!({ "durability": {} })), "/durability"),
        (Method::POST, "/tenants", json!({ "id": "x" }), "/name"),
        (Method::PUT, "/tenants/acme/limits/a", changed("counter", json!([])), "/counter"),
        (Method::PUT, "/tenants/acme/limits/a", changed("measure", json!(true)), "/measure"),
        (Method::PUT, "/tenants/acme/limits/a", scoped(json!(["ok", "not ok"])), "/scope/models/1"),
        (Method::PUT, "/tenants/acme/limits/a", scoped(json!(["ok", 5])), "/scope/models/1"),
        (Method::PUT, "/tenants/acme/limits/a", changed("window_seconds", json!(0)), "/window_seconds"),
        (Method::PUT, "/tenants/acme/limits/a", changed("amount", json!(0)), "/amount"),
        (Method::PUT, "/tenants/acme/limits/a", changed("amount", json!(-1)), "/amount"),
        (Method::PUT, "/tenants/acme/limits/a", changed("amount", json!(1_u64 << 60)), "/amount"),
        (Method::POST, "/tenants/acme/api-keys", json!({ "name": "", "owner": "a" }), "/name"),
        (Method::POST, "/tenants/acme/api-keys", json!({ "name": "a", "owner": "" }), "/owner"),
        (
            Method::POST,
            "/tenants/acme/api-keys",
            json!({ "name": "a", "owner": "a", "expires_at": "1999-01-01T00:00:00Z" }),
            "/expires_at",
        ),
        (Method::PUT, "/tenants/acme/access-rules/a", json!({ "permissions": [] }), "/permissions"),
        (
            Method::PUT,
            "/tenants/acme/access-rules/a",
            json!({ "permissions": ["inference", "all"] }),
            "/permissions/1",
        ),
        (
            Method::PUT,
            "/tenants/acme/identity-providers/a",
            json!({ "issuer": "x", "audiences": ["a"] }),
            "/issuer",
        ),
        (
            Method::PUT,
            "/tenants/acme/identity-providers/a",
            json!({ "issuer": "https://x", "audiences": [] }),
            "/audiences",
        ),
        (
            Method::PUT,
            "/tenants/acme/identity-providers/a",
            json!({ "issuer": "https://x", "audiences": ["a"], "clock_skew_seconds": 601 }),
            "/clock_skew_seconds",
        ),
        (
            Method::PUT,
            "/tenants/acme/identity-providers/a",
            json!({ "issuer": "https://x", "audiences": ["a"], "claims": { "user": "sub" } }),
            "/claims/user",
        ),
        (Method::PUT, "/pools/main/models/a", json!({ "targets": [] }), "/targets"),
        (
            Method::PUT,
            "/pools/main/models/a",
            json!({ "targets": [{ "upstream": "a b" }] }),
            "/targets/0/upstream",
        ),
        (Method::POST, "/quota-stores", json!({ "id": "r", "kind": "redis" }), "/url"),
        (
            Method::POST,
            "/quota-stores",
            json!({ "id": "r", "kind": "redis", "url": "http://u:canary@x" }),
            "/url",
        ),
        (
            Method::POST,
            "/quota-stores",
            json!({ "id": "r", "kind": "redis", "url": "redis://x", "call_budget_ms": 60_001 }),
            "/call_budget_ms",
        ),
        (
            Method::POST,
            "/join-tokens",
            json!({ "pool": "main", "expires_in_seconds": 604_801 }),
            "/expires_in_seconds",
        ),
        (Method::POST, "/pools", json!({ "id": "p", "name": "" }), "/name"),
        (Method::PUT, "/pools/main/routes", opened("/pause", "POST"), "/allow/0/path"),
        (Method::PUT, "/pools/main/routes", opened("/v1/x", "CONNECT"), "/allow/0/methods/0"),
        (Method::PUT, "/pools/main/routes", json!({ "registries": ["a b"] }), "/registries/0"),
        (Method::PUT, "/pools/main/routes", json!({ "open": [] }), "/open"),
    ];
    let before = served.world.test.dump();
    for (method, path, body, pointer) in wrong {
        let answer = send(&served, method, path, &body).await;
        assert_eq!(answer.status, 422, "{path} {body}: {}", answer.text());
        assert_eq!(pointers(&answer), [pointer], "{path} {body}: {}", answer.text());
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    assert_eq!(served.world.test.dump(), before, "nothing of it was done");
}

#[tokio::test]
async fn what_is_no_request_of_ours_is_a_problem_too() {
    let Some(served) = Served::start().await else { return };
    let json = || served.operator().with_header("content-type", "application/json");
    let tenants = format!("{PREFIX}/tenants");
    let large = format!("{{\"id\": \"{}\"}}", "x".repeat(extract::MAX_BODY_BYTES));
    let nul = json!({ "id": "x", "name": "a\u{0}b", "quota_store": "local", "pool": "main" }).to_string();
    let cases = [
        (json().post_raw(&tenants, "{").await, 400, "invalid"),
        (json().post_raw(&tenants, "").await, 400, "invalid"),
        (json().post_raw(&tenants, "{} {}").await, 422, "invalid"),
        (json().post_raw(&tenants, nul).await, 400, "invalid"),
        (json().post_raw(&tenants, large).await, 413, "too_large"),
        (served.operator().post_raw(&tenants, "{}").await, 415, "unsupported_media_type"),
        (send(&served, Method::DELETE, "/tenants", &Value::Null).await, 405, "method_not_allowed"),
        (get(&served, "/nothing").await, 404, "not_found"),
        (get(&served, "/tenants/a%20b").await, 404, "not_found"),
        (get(&served, "/tenants/%ff").await, 404, "not_found"),
        (get(&served, "/tenants?limit=0").await, 422, "invalid"),
        (get(&served, "/tenants?limit=201").await, 422, "invalid"),
        (get(&served, "/tenants?limit=x").await, 400, "invalid"),
        (get(&served, "/tenants?cursor=%00").await, 422, "invalid"),
        (get(&served, "/tenants?page=2").await, 400, "invalid"),
        (get(&served, "/audit?cursor=YWNtZQ").await, 422, "invalid"),
        (get(&served, "/tenants/acme/usage?from=2027-01-01T00:00:00Z").await, 422, "invalid"),
        (get(&served, "/tenants/acme/usage?from=2020-01-01T00:00:00Z").await, 422, "invalid"),
        (get(&served, "/tenants/acme/usage?by=colour").await, 422, "invalid"),
        (get(&served, "/tenants/acme/usage?step=week").await, 400, "invalid"),
    ];
    for (index, (answer, status, code)) in cases.iter().enumerate() {
        assert_eq!(answer.status.as_u16(), *status, "{index}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{index}");
        assert_eq!(answer.json()["code"], *code, "{index}");
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_ends_when_it_is_revoked() {
    let Some(served) = Served::start().await else { return };
    let new = json!({ "name": "ci", "owner": "alice", "groups": ["staff"] });
    let issued = post(&served, "/tenants/acme/api-keys", &new).await;
    assert_eq!(issued.status, 201);
    let issued = issued.json();
    let (id, secret) = (issued["id"].as_str().unwrap(), issued["secret"].as_str().unwrap());
    assert!(attach_proto::key_text::has_form(secret.as_bytes()));
    let list = get(&served, "/tenants/acme/api-keys").await;
    assert_eq!(list.json()["items"][0]["id"], id);
    assert!(!list.text().contains(secret));
    assert!(!get(&served, "/audit").await.text().contains(secret));
    let revoke = format!("/tenants/acme/api-keys/{id}/revoke");
    assert_eq!(post(&served, &revoke, &Value::Null).await.status, 204);
    assert_eq!(post(&served, &revoke, &Value::Null).await.status, 404, "it is good no longer");
    assert!(get(&served, "/tenants/acme/api-keys").await.json()["items"][0]["revoked_at"].is_string());
}

#[tokio::test]
async fn a_key_is_made_with_what_it_may_do_and_gets_a_new_secret() {
    let Some(served) = Served::start().await else { return };
    let limit = |amount: u64, window: u64| json!({ "measure": "requests", "amount": amount, "window_seconds": window });
    let new = |change: Value| {
        let mut new = json!({ "name": "webui", "owner": "it", "scopes": ["inference", "act_as"], "models": ["llama3"] });
        for (name, value) in change.as_object().unwrap() {
            new[name] = value.clone();
        }
        new
    };
    for (change, pointer) in [
        (json!({ "scopes": ["root"] }), "/scopes/0"),
        (json!({ "models": ["llama3", "a b"] }), "/models/1"),
        (json!({ "limits": [limit(0, 60)] }), "/limits/0/amount"),
        (json!({ "limits": [limit(5, 60), limit(5, 0)] }), "/limits/1/window_seconds"),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), "/expires_at"),
    ] {
        let refused = post(&served, "/tenants/acme/api-keys", &new(change)).await;
        assert_eq!(
            (refused.status.as_u16(), pointers(&refused)),
            (422, vec![pointer.to_owned()]),
            "{}",
            refused.text()
        );
    }
    let issued = post(&served, "/tenants/acme/api-keys", &new(json!({ "limits": [limit(5, 60)] }))).await;
    assert_eq!(issued.status, 201, "{}", issued.text());
    let issued = issued.json();
    assert_eq!((&issued["scopes"], &issued["models"]), (&json!(["inference", "act_as"]), &json!(["llama3"])));
    let limits = get(&served, "/tenants/acme/limits").await.json();
    assert_eq!(limits["items"][0]["scope"]["keys"], json!([issued["id"]]));

    let rotate = format!("/tenants/acme/api-keys/{}/rotate", issued["id"].as_str().unwrap());
    let rotated = post(&served, &rotate, &json!({ "overlap_seconds": 60 })).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let rotated = rotated.json();
    assert_eq!((&rotated["id"], &rotated["scopes"]), (&issued["id"], &issued["scopes"]));
    assert_eq!(rotated["previous_until"], "2026-11-21T12:01:00Z");
    assert_ne!(rotated["secret"], issued["secret"]);
    for overlap in [1, 2_678_401] {
        let refused = post(&served, &rotate, &json!({ "overlap_seconds": overlap })).await;
        assert_eq!(pointers(&refused), ["/overlap_seconds"], "{}", refused.text());
    }
    assert_eq!(post(&served, &rotate, &json!({ "overlap_seconds": 0 })).await.status, 200);
    let elsewhere = rotate.replace("acme", "globex");
    assert_eq!(post(&served, &elsewhere, &json!({ "overlap_seconds": 0 })).await.status, 404);
}

#[tokio::test]
async fn limits_rules_providers_and_models_are_set_listed_and_removed() {
    let Some(served) = Served::start().await else { return };
    let rule = json!({ "groups": ["staff"], "permissions": ["inference", "read"] });
    let model = json!({ "targets": [{ "upstream": "gpu", "engine_model": "llama3:70b" }], "max_output_tokens": 4096 });
    for (list, id, body) in [
        ("/tenants/acme/limits", "tokens", limit()),
        ("/tenants/acme/access-rules", "staff", rule),
        ("/tenants/acme/identity-providers", "login", provider()),
        ("/pools/main/models", "hf.co%2Fchat:8b", model),
    ] {
        let one = format!("{list}/{id}");
        let set = put(&served, &one, &body).await;
        assert_eq!(set.status, 200, "{one}: {}", set.text());
        assert_eq!(put(&served, &one, &body).await.status, 200, "{one} again");
        let listed = get(&served, list).await.json();
        assert_eq!(listed["items"], json!([set.json()]), "{list}");
        assert_eq!(delete(&served, &one).await.status, 204, "{one}");
        assert_eq!(delete(&served, &one).await.status, 404, "{one} again");
        assert_eq!(get(&served, list).await.json()["items"], json!([]));
    }
    assert_eq!(served.world.test.as_superuser("select count(*) from identity_audience"), Ok("0".to_owned()));
}

#[tokio::test]
async fn the_routes_of_a_pool_are_set_whole_and_closed_by_setting_none() {
    let Some(served) = Served::start().await else { return };
    let path = "/pools/main/routes";
    let none = json!({ "allow": [], "registries": [] });
    assert_eq!(get(&served, path).await.json(), none);
    let route = |path: &str, metering: &str| {
        json!({
            "path": path, "methods": ["POST"], "permission": "inference", "metering": metering,
            "dialect": "openai",
        })
    };
    let mut speech = route("/v1/audio/*", "requests");
    speech["upstream"] = json!("gpu");
    let both = json!({ "allow": [speech, route("/v1/fim", "usage")], "registries": ["hf.co"] });
    let set = put(&served, path, &both).await;
    assert_eq!((set.status.as_u16(), set.json()), (200, both.clone()), "{}", set.text());
    assert_eq!(get(&served, path).await.json(), both);
    let first = json!({ "allow": [route("/v1/fim", "none")] });
    assert_eq!(put(&served, path, &first).await.status, 200);
    let kept = get(&served, path).await.json();
    assert_eq!((&kept["allow"], &kept["registries"]), (&first["allow"], &json!([])));
    let trail = get(&served, "/audit").await.json();
    assert_eq!(trail["items"][0]["action"], "set_routes", "{trail}");
    assert_eq!(trail["items"][0]["detail"]["allow"][0]["path"], "/v1/fim");

    assert_eq!(put(&served, path, &json!({})).await.json(), none);
    assert_eq!(get(&served, path).await.json(), none);
    for method in [Method::GET, Method::PUT] {
        assert_eq!(send(&served, method, "/pools/nowhere/routes", &json!({})).await.status, 404);
    }
}

#[tokio::test]
async fn two_models_of_a_pool_never_mean_the_same() {
    let Some(served) = Served::start().await else { return };
    let targets = json!([{ "upstream": "gpu" }]);
    let first = json!({ "aliases": ["Chat:latest"], "targets": targets });
    assert_eq!(put(&served, "/pools/main/models/llama3", &first).await.status, 200);
    let second = put(&served, "/pools/main/models/chat", &json!({ "targets": targets })).await;
    assert_eq!((second.status.as_u16(), pointers(&second)), (422, vec!["/name".to_owned()]));
    let twice = json!({ "aliases": ["LLAMA3"], "targets": targets });
    assert_eq!(pointers(&put(&served, "/pools/main/models/llama3", &twice).await), ["/aliases"]);
}

#[tokio::test]
async fn a_pool_serves_a_tenant_until_it_does_not() {
    let Some(served) = Served::start().await else { return };
    assert_eq!(post(&served, "/pools", &json!({ "id": "second", "name": "Second" })).await.status, 201);
    let member = "/pools/second/members/acme";
    assert_eq!(put(&served, member, &Value::Null).await.status, 204);
    assert_eq!(put(&served, member, &Value::Null).await.status, 409);
    assert_eq!(get(&served, "/pools/second/members").await.json()["items"][0]["tenant"], "acme");
    assert_eq!(delete(&served, member).await.status, 204);
    assert_eq!(delete(&served, member).await.status, 404);
    assert_eq!(get(&served, "/pools/second/members").await.json()["items"], json!([]));
    let on_record = "select count(*) from pool_membership where pool_id = 'second' and until > since";
    assert_eq!(served.world.test.as_superuser(on_record), Ok("1".to_owned()));
    assert_eq!(put(&served, "/pools/none/members/acme", &Value::Null).await.status, 404);
    assert_eq!(put(&served, "/pools/second/members/nobody", &Value::Null).await.status, 404);
}

#[tokio::test]
async fn the_address_of_a_quota_store_is_sealed_and_never_shown() {
    let Some(served) = Served::start().await else { return };
    let new = json!({ "id": "redis-1", "kind": "redis", "url": "redis://u:canary-password@127.0.0.1:6379" });
    let made = post(&served, "/quota-stores", &new).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let everything = made.text() + &get(&served, "/quota-stores").await.text() + &served.world.test.dump();
    assert!(!everything.contains("canary-password"));
    let sealed =
        served.world.test.as_superuser("select sealed_url from quota_store where id = 'redis-1'").unwrap();
    let opened = served.app.sealer.open("quota_store/redis-1", &sealed).unwrap();
    assert_eq!(opened, b"redis://u:canary-password@127.0.0.1:6379");
    assert_eq!(post(&served, "/quota-stores", &new).await.status, 409);
}

#[tokio::test]
async fn a_join_token_comes_with_the_line_to_paste_and_can_be_revoked() {
    let Some(served) = Served::start().await else { return };
    let made = post(&served, "/join-tokens", &json!({ "pool": "main" })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let line = format!("attach-gateway join {secret}@https://127.0.0.1:8443");
    assert_eq!(made["command"], line);
    let list = get(&served, "/join-tokens").await;
    assert_eq!(list.json()["items"][0]["id"], id);
    assert!(!list.text().contains(secret));
    assert_eq!(post(&served, &format!("/join-tokens/{id}/revoke"), &Value::Null).await.status, 204);
    assert_eq!(post(&served, &format!("/join-tokens/{id}/revoke"), &Value::Null).await.status, 404);
    assert_eq!(post(&served, "/join-tokens", &json!({ "pool": "none" })).await.status, 404);
}

#[tokio::test]
async fn an_agent_is_shown_as_it_is_and_revoked() {
    let Some(served) = Served::start().await else { return };
    served.with_an_agent("gpu-01");
    let agent = get(&served, "/agents/agent-1").await.json();
    assert_eq!((&agent["state"], &agent["host"]), (&json!("online"), &json!("gpu-01")));
    assert_eq!(agent["report"]["engines"][0]["models"], json!(["llama3"]));
    assert_eq!(agent["report"]["refusal"], "limits[acme/a].window: is missing");
    assert_eq!(get(&served, "/agents").await.json()["items"][0], agent);
    assert_eq!(post(&served, "/agents/agent-1/revoke", &Value::Null).await.status, 204);
    assert_eq!(get(&served, "/agents/agent-1").await.json()["state"], "revoked");
    assert_eq!(post(&served, "/agents/agent-1/revoke", &Value::Null).await.status, 404);
    assert_eq!(get(&served, "/agents/agent-2").await.status, 404);
}

#[tokio::test]
async fn usage_is_summed_as_asked_and_events_are_listed_the_last_first() {
    let Some(served) = Served::start().await else { return };
    served.with_usage("acme", "alice", 100);
    served.with_usage("acme", "bob", 10);
    served.with_usage("globex", "canary", 1_000);
    let all = get(&served, "/tenants/acme/usage").await.json();
    let kinds = |sum: &Value| sum["quantities"].clone();
    assert_eq!(all["sums"].as_array().unwrap().len(), 1);
    assert_eq!(all["sums"][0]["requests"], 2);
    assert_eq!(
        kinds(&all["sums"][0]),
        json!([{ "kind": "input_tokens", "quantity": 110 }, { "kind": "output_tokens", "quantity": 220 }])
    );
    let split = get(&served, "/tenants/acme/usage?by=user,model&step=hour").await.json();
    let users: Vec<_> = split["sums"].as_array().unwrap().iter().map(|sum| &sum["user"]["subject"]).collect();
    assert_eq!(users, ["alice", "bob"]);
    assert_eq!(split["sums"][0]["model"], "llama3");
    assert!(split["sums"][0]["start"].is_string());

    let first = get(&served, "/tenants/acme/usage-events?limit=1").await.json();
    assert_eq!(first["items"][0]["user"]["subject"], "bob");
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = get(&served, &format!("/tenants/acme/usage-events?limit=1&cursor={cursor}")).await.json();
    assert_eq!(next["items"][0]["user"]["subject"], "alice");
    assert!(next["next_cursor"].is_null());
}

#[tokio::test]
async fn a_list_in_parts_has_each_item_once() {
    let Some(served) = Served::start().await else { return };
    for number in 0..5 {
        put(&served, &format!("/tenants/acme/limits/l{number}"), &limit()).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/tenants/acme/limits?limit=2".to_owned());
    loop {
        let part = get(&served, &path).await.json();
        seen.extend(
            part["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = part["next_cursor"].as_str() else { break };
        path = format!("/tenants/acme/limits?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["l0", "l1", "l2", "l3", "l4"]);
}

#[tokio::test]
async fn nothing_of_one_tenant_is_in_any_answer_about_the_other() {
    let Some(served) = Served::start().await else { return };
    served.with_usage("globex", "canary", 1_000);
    let key =
        post(&served, "/tenants/globex/api-keys", &json!({ "name": "canary", "owner": "canary" })).await;
    let key = key.json()["id"].as_str().unwrap().to_owned();
    put(&served, "/tenants/globex/limits/canary", &limit()).await;
    put(&served, "/tenants/globex/identity-providers/canary", &provider()).await;
    put(&served, "/tenants/globex/access-rules/canary", &json!({ "permissions": ["read"] })).await;
    for list in [
        "",
        "/api-keys",
        "/limits",
        "/access-rules",
        "/identity-providers",
        "/usage?by=user,model",
        "/usage-events",
        "/audit",
    ] {
        let answer = get(&served, &format!("/tenants/acme{list}")).await;
        assert_eq!(answer.status, 200, "{list}");
        assert!(!answer.text().contains("canary") && !answer.text().contains("globex"), "{}", answer.text());
    }
    for (method, path) in [
        (Method::GET, "/tenants/acme/limits/canary".to_owned()),
        (Method::DELETE, "/tenants/acme/limits/canary".to_owned()),
        (Method::DELETE, "/tenants/acme/access-rules/canary".to_owned()),
        (Method::DELETE, "/tenants/acme/identity-providers/canary".to_owned()),
        (Method::POST, format!("/tenants/acme/api-keys/{key}/revoke")),
    ] {
        let answer = send(&served, method.clone(), &path, &Value::Null).await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    let taken = put(&served, "/tenants/acme/identity-providers/own", &provider()).await;
    assert_eq!((taken.status.as_u16(), pointers(&taken)), (422, vec!["/audiences".to_owned()]));
    assert!(!taken.text().contains("globex") && !taken.text().contains("canary"), "{}", taken.text());
}
