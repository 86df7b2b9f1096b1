//! What pages show, and what they never do.

use super::*;

#[tokio::test]
async fn every_page_forbids_scripts_frames_and_caching() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    for path in ["/", "/sign-in", "/tenants/acme", "/tenants/nobody", "/nothing"] {
        let answer = browser.client().get(path).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(!answer.text().contains("<script") && !answer.text().contains("style=\""), "{path}");
    }
}

#[tokio::test]
async fn the_style_sheet_is_kept_for_ever_and_asked_for_again_only_when_it_changed() {
    let Some(served) = Served::start().await else { return };
    let page = served.anybody().get("/sign-in").await.text();
    let (_, rest) = page.split_once("href=\"/static/").unwrap();
    let path = format!("/static/{}", rest.split('"').next().unwrap());
    let style = served.anybody().get(&path).await;
    assert_eq!(style.status, 200);
    assert!(style.header("cache-control").unwrap().contains("immutable"));
    let tag = style.header("etag").unwrap();
    assert_eq!(served.anybody().with_header("if-none-match", tag).get(&path).await.status, 304);
    assert_eq!(served.anybody().get("/static/console.css").await.status, 404);
}

#[tokio::test]
async fn nothing_of_one_tenant_is_on_any_page_of_the_other() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    served.with_usage("globex", "canary", 1_000);
    browser
        .send("/tenants/globex/keys", &[("name", "canary"), ("owner", "canary"), ("scopes", "read")])
        .await;
    let limit =
        [("id", "canary"), ("amount", "5"), ("measure", "requests"), ("window", "60"), ("counter", "shared")];
    browser.done("/tenants/globex/limits", &limit).await;
    let provider = [("id", "canary"), ("issuer", "https://canary.example/"), ("audiences", "canary")];
    browser.done("/tenants/globex/providers", &provider).await;
    let dids = [("allowed", "did:web:canary.example"), ("audiences", "canary"), ("rules", "web")];
    browser.done("/tenants/globex/dids", &dids).await;
    for path in [
        "",
        "/edit",
        "/keys",
        "/keys/new",
        "/limits",
        "/limits/new",
        "/usage",
        "/usage?span=month",
        "/providers/new",
        "/dids",
    ] {
        let page = browser.page(&format!("/tenants/acme{path}")).await;
        assert!(!page.contains("canary") && !page.contains("globex"), "{path}: {page}");
    }
    assert!(browser.page("/tenants/globex/usage").await.contains("canary"));
    for path in [
        "limits/canary",
        "limits/canary/remove",
        "providers/canary",
        "providers/canary/remove",
        "keys/canary/revoke",
        "keys/canary/rotate",
    ] {
        assert_eq!(browser.client().get(&format!("/tenants/acme/{path}")).await.status, 404, "{path}");
        assert_eq!(browser.send(&format!("/tenants/acme/{path}"), &limit).await.status, 404, "{path}");
    }
}

/// In every text that somebody outside can choose.
#[tokio::test]
async fn whatever_somebody_writes_stays_text() {
    const EVIL: &str = "<script>alert('1')</script>\"&";
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    browser.done("/tenants/acme/edit", &[("name", EVIL)]).await;
    browser
        .send(
            "/tenants/acme/keys",
            &[("name", EVIL), ("owner", EVIL), ("groups", EVIL), ("scopes", "read"), ("models", "<script>")],
        )
        .await;
    browser.done("/pools", &[("id", "evil"), ("name", EVIL)]).await;
    let limit = [
        ("id", "evil"),
        ("amount", "5"),
        ("measure", "requests"),
        ("window", "60"),
        ("counter", "shared"),
        ("groups", EVIL),
        ("principals", EVIL),
        ("models", "<script>"),
    ];
    browser.done("/tenants/acme/limits", &limit).await;
    let provider = [
        ("id", "evil"),
        ("issuer", "https://x/<script>"),
        ("audiences", EVIL),
        ("required_claims", "/<script> = </textarea><script>"),
        // The key of RFC 8037, appendix A.2.
        (
            "jwks",
            r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "x5u": "</textarea><script>"}]}"#,
        ),
    ];
    browser.done("/tenants/acme/providers", &provider).await;
    let dids = [("allowed", "*"), ("audiences", EVIL)];
    browser.done("/tenants/acme/dids", &dids).await;
    served.with_usage("acme", EVIL, 10);
    served.with_an_agent(EVIL);
    let evil = EVIL.replace('\'', "''");
    let outside = format!(
        "insert into alarm (at, kind, agent_id, detail) values (now(), '{evil}', '{evil}', '{evil}');
         update agent_state set program_version = '{evil}', refusal = '{evil}', missing_features = array['{evil}'],
             upstreams = jsonb_build_array(jsonb_build_object('id', '{evil}')),
             health = jsonb_build_array(jsonb_build_object('upstream', '{evil}', 'problem', '{evil}', 'models', array['{evil}']));
         update usage_hour set model = '{evil}', issuer = '{evil}'"
    );
    served.world.test.as_superuser(&outside).unwrap();
    let key = served.world.test.as_superuser("select id from api_key").unwrap();
    let mut pages = Vec::new();
    for path in [
        "/",
        "/tenants",
        "/tenants/new",
        "/tenants/acme",
        "/tenants/acme/edit",
        "/tenants/acme/keys",
        "/tenants/acme/limits",
        "/tenants/acme/limits/evil",
        "/tenants/acme/providers/evil",
        "/tenants/acme/providers/evil/remove",
        "/tenants/acme/dids",
        "/pools/evil",
        "/tenants/acme/usage",
        "/pools",
        "/agents",
        "/agents/agent-1/revoke",
        "/agents/join",
        "/audit",
        "/tenants/acme/usage?span=<script>",
        &format!("/tenants/acme/keys/{key}/revoke"),
        &format!("/tenants/acme/keys/{key}/rotate"),
        "/sign-in/%3Cscript%3E",
    ] {
        pages.push((path.to_owned(), browser.page(&path.replace('<', "%3C").replace('>', "%3E")).await));
    }
    for (path, fields) in [
        ("/tenants/acme/limits", [("id", EVIL), ("amount", EVIL), ("models", EVIL)]),
        ("/tenants/acme/providers", [("id", EVIL), ("issuer", EVIL), ("user", EVIL)]),
        ("/tenants/acme/providers", [("jwks", EVIL), ("product", EVIL), ("algorithms", EVIL)]),
        ("/tenants/acme/dids", [("allowed", EVIL), ("domains", EVIL), ("rules", EVIL)]),
        ("/pools/evil/routes", [("path", EVIL), ("upstream", EVIL), ("metering", EVIL)]),
        ("/pools/evil/registries", [("registries", EVIL), ("", ""), ("", "")]),
        ("/tenants", [("id", EVIL), ("name", EVIL), ("pool", EVIL)]),
    ] {
        pages.push((path.to_owned(), browser.refused(path, &fields).await));
    }
    for (path, page) in pages {
        assert!(!page.to_lowercase().contains("<script"), "{path}: {page}");
        assert!(
            path.ends_with("/new")
                || path.contains("span")
                || page.contains("&#60;script")
                || page.contains("&lt;script"),
            "{path} shows it nowhere"
        );
        // A quotation mark that ends an attribute would leave this behind.
        assert!(!page.contains("</script>"), "{path}");
    }
}

#[tokio::test]
async fn usage_has_a_picture_its_numbers_as_text_and_a_page_of_its_own_when_there_is_none() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    assert!(browser.page("/tenants/acme/usage").await.contains("No usage in this time"));
    served.with_usage("acme", "alice", 1_500);
    for span in ["day", "week", "month", "nonsense"] {
        let page = browser.page(&format!("/tenants/acme/usage?span={span}")).await;
        assert!(page.contains("<svg class=\"chart\"") && page.contains("role=\"img\""), "{span}");
        for text in ["alice", "llama3", "1,500", "3,000", "4,500"] {
            assert!(page.contains(text), "{span} {text}");
        }
    }
    let home = browser.page("/").await;
    assert!(home.contains("1,500") && home.contains("3,000"));
}

#[tokio::test]
async fn with_more_users_than_a_page_has_room_for_usage_shows_those_with_most() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    served.with_usage("acme", "alice", 1_500);
    let many = "insert into usage_hour select tenant_id, hour, principal_kind, issuer, 'user-' || n, model, kind, source, n, 1
        from usage_hour, generate_series(1, 6000) n where kind = 'input_tokens' and subject = 'alice'";
    served.world.test.as_superuser(many).unwrap();
    let page = browser.page("/tenants/acme/usage").await;
    assert!(page.contains("the first 100 of 6,001"), "{page}");
    assert!(page.contains("user-6000") && page.contains("user-5999") && !page.contains(">user-17<"));
}
