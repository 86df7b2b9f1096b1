//! What is done by forms, and what a form with a mistake looks like.

use super::*;

#[tokio::test]
async fn from_nothing_to_a_tenant_with_a_key_and_a_limit() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    browser.done("/pools", &[("id", "second"), ("name", "Second pool")]).await;
    let stores = browser.done("/quota-stores", &[("id", "memory"), ("kind", "local")]).await;
    assert!(stores.contains("Second pool") && stores.contains("memory"));
    let fields = [("id", "initech"), ("name", "Initech"), ("pool", "second"), ("quota_store", "memory")];
    let tenant = browser.done("/tenants", &fields).await;
    assert!(tenant.contains("Initech") && tenant.contains("second"));

    let provider = [("id", "login"), ("issuer", "https://login.example/"), ("audiences", "api\nchat")];
    let tenant = browser.done("/tenants/initech/providers", &provider).await;
    assert!(tenant.contains("api, chat"));
    let changed = [("issuer", "https://login.example/"), ("audiences", "api")];
    assert!(!browser.done("/tenants/initech/providers/login", &changed).await.contains("chat"));

    let limit = [
        ("id", "tokens"),
        ("amount", "60,000"),
        ("measure", "total_tokens"),
        ("window", "60"),
        ("counter", "shared"),
    ];
    let limits = browser.done("/tenants/initech/limits", &limit).await;
    assert!(limits.contains("60,000") && limits.contains("1 minute"), "{limits}");
    let limits = browser
        .done(
            "/tenants/initech/limits/tokens",
            &[("amount", "5"), ("groups", "staff"), limit[2], limit[3], limit[4]],
        )
        .await;
    assert!(limits.contains("groups staff"));

    let key = [
        ("name", "CI"),
        ("owner", "alice"),
        ("days", "30"),
        ("scopes", "inference"),
        ("scopes", "act_as"),
        ("models", "llama3"),
        ("amount", "1,000"),
        ("measure", "requests"),
        ("window", "86400"),
        ("counter", "each_principal"),
    ];
    let text = browser.send("/tenants/initech/keys", &key).await.text();
    let secret = text.split("atk_").nth(1).unwrap().split('<').next().unwrap();
    let keys = browser.page("/tenants/initech/keys").await;
    assert!(keys.contains("CI") && keys.contains("good until 2026-12-21") && !keys.contains(secret));
    assert!(keys.contains("ask models, <strong>name its users</strong>"), "{keys}");
    assert!(keys.contains("only <span class=\"code\">llama3</span>") && keys.contains("not yet"), "{keys}");
    assert!(keys.contains("1,000 requests in 1 day, for each user"), "{keys}");
    let id = secret.split('_').next().unwrap();
    let limits = browser.page("/tenants/initech/limits").await;
    assert!(
        limits.contains(&format!("keys {id}")) && limits.contains("1,000") && limits.contains("1 day"),
        "{limits}"
    );

    let rotate = format!("/tenants/initech/keys/{id}/rotate");
    assert!(browser.page(&rotate).await.contains("A new secret for “CI”"));
    let rotated = browser.send(&rotate, &[("overlap", "86400")]).await.text();
    assert!(rotated.contains(&format!("atk_{id}_")) && !rotated.contains(secret), "{rotated}");
    assert!(rotated.contains("good until 2026-11-22 12:00"), "{rotated}");
    assert!(browser.page("/tenants/initech/keys").await.contains("two secrets until 2026-11-22 12:00"));
    let again = browser.page(&rotate).await;
    assert!(again.contains("a third ends both") && !again.contains("86400"), "{again}");
    assert!(browser.refused(&rotate, &[("overlap", "86400")]).await.contains("overlap-error"));
    let ask = browser.page(&format!("/tenants/initech/keys/{id}/revoke")).await;
    assert!(ask.contains("Revoke “CI”?"));
    assert!(browser.done(&format!("/tenants/initech/keys/{id}/revoke"), &[]).await.contains("revoked 2026-"));

    browser.done("/tenants/initech/limits/tokens/remove", &[]).await;
    browser.done("/tenants/initech/providers/login/remove", &[]).await;
    let settings = [("name", "Initech Inc"), ("on_quota_outage", "allow"), ("durability", "relaxed")];
    assert!(browser.done("/tenants/initech/edit", &settings).await.contains("Initech Inc"));
    let trail = browser.page("/audit").await;
    for action in [
        "create pool",
        "create tenant",
        "set limit",
        "issue key",
        "rotate key",
        "revoke key",
        "remove limit",
        "sign in",
    ] {
        assert!(trail.contains(action), "{action}");
    }
    assert!(!trail.contains(secret));
}

#[tokio::test]
async fn a_form_with_a_mistake_comes_back_as_it_was_with_what_is_wrong_beside_the_field() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let limit = |amount, window, id| {
        [
            ("id", id),
            ("amount", amount),
            ("window", window),
            ("measure", "requests"),
            ("counter", "shared"),
            ("groups", "keep me"),
        ]
    };
    let provider = [("id", "p"), ("issuer", "login.example"), ("audiences", "keep me")];
    let pool = [("id", "keep me"), ("name", "X")];
    let store = [("id", "s"), ("kind", "redis"), ("url", "canary")];
    for (path, fields, field) in [
        ("/tenants/acme/limits", &limit("lots", "60", "a")[..], "amount"),
        ("/tenants/acme/limits", &limit("0", "60", "a"), "amount"),
        ("/tenants/acme/limits", &limit("5", "0", "a"), "window"),
        ("/tenants/acme/limits", &limit("5", "60", "a b"), "id"),
        ("/tenants/acme/providers", &provider, "issuer"),
        ("/tenants/acme/keys", &[("name", ""), ("owner", "keep me"), ("scopes", "read")], "name"),
        ("/tenants/acme/edit", &[("name", "")], "name"),
        ("/pools", &pool, "id"),
        ("/pools", &[("id", "main"), ("name", "again")], "id"),
        ("/quota-stores", &store, "url"),
        ("/tenants", &[("id", "acme"), ("name", "x"), ("pool", "main"), ("quota_store", "local")], "id"),
    ] {
        let page = browser.refused(path, fields).await;
        assert!(page.contains(&format!("id=\"{field}-error\"")), "{path} {field}: {page}");
        let input = page.split(&format!("id=\"{field}\" ")).nth(1).unwrap().split('>').next().unwrap();
        assert!(input.contains("aria-invalid=\"true\""), "{path}: {input}");
        let kept = fields.iter().any(|(_, value)| *value == "keep me");
        assert!(!kept || page.contains("keep me"), "{path} loses what was typed");
        assert!(!page.contains("canary"), "a secret is not shown again");
    }
    let limits = served.world.test.as_superuser("select count(*) from usage_limit").unwrap();
    assert_eq!(limits, "0");
}

#[tokio::test]
async fn a_gateway_joins_with_a_line_that_is_shown_once_and_is_revoked() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    assert!(browser.page("/agents").await.contains("No gateway has joined yet"));
    let shown = browser.send("/agents/join", &[("pool", "main")]).await;
    assert!(shown.text().contains("attach-gateway join atj_"), "{}", shown.text());
    assert!(shown.text().contains("@https://127.0.0.1:8443"));
    assert_eq!(browser.send("/agents/join", &[("pool", "none")]).await.status, 422);
    served.with_an_agent("gpu-01");
    let agents = browser.page("/agents").await;
    for text in ["gpu-01", "online", "vLLM", "llama3", "It refused revision 2", "the pool is at"] {
        assert!(agents.contains(text), "{text}: {agents}");
    }
    assert!(browser.done("/agents/agent-1/revoke", &[]).await.contains("revoked"));
}
