//! A pool's page: what it lets through, opened and closed.

use super::*;
use attach_proto::v1::{Dialect, Metering, Permission};

const IMAGES: &[(&str, &str)] = &[
    ("path", "/v1/images/generations"),
    ("methods", "POST"),
    ("permission", "inference"),
    ("metering", "requests"),
    ("dialect", "openai"),
];

const CHANGE: &str = "/pools/main/routes/change?route=GET%2CPOST+%2Fv1%2Faudio%2F*";

#[tokio::test]
async fn a_route_is_opened_changed_and_closed_and_the_gateways_hear_of_it() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let pool = browser.page("/pools/main").await;
    for text in ["/tenants/acme", "/load_lora_adapter", "never open", "registry.ollama.ai"] {
        assert!(pool.contains(text), "{text}: {pool}");
    }
    browser.done("/pools/main/routes", IMAGES).await;
    let audio = [
        ("path", "/v1/audio/*"),
        ("methods", "GET"),
        ("methods", "POST"),
        ("permission", "admin"),
        ("metering", "none"),
        ("dialect", "anthropic"),
        ("upstream", "gpu"),
    ];
    let pool = browser.done("/pools/main/routes", &audio).await;
    for text in ["/v1/images/generations", "/v1/audio/*", "GET, POST", "who may change models", CHANGE] {
        assert!(pool.contains(&text.replace('&', "&#38;")), "{text}: {pool}");
    }
    let routes = bundle(&served).await.routes.unwrap();
    let [images, opened] = routes.allow.as_slice() else { panic!("{routes:?}") };
    assert_eq!((images.metering(), images.dialect()), (Metering::Requests, Dialect::Openai));
    assert_eq!((opened.permission(), opened.dialect()), (Permission::Admin, Dialect::Anthropic));
    assert_eq!((opened.methods.join(","), opened.upstream.as_str()), ("GET,POST".to_owned(), "gpu"));

    let form = browser.page(CHANGE).await;
    assert!(form.contains("value=\"/v1/audio/*\"") && form.matches(" checked").count() == 2, "{form}");
    let changed = [
        ("path", "/v1/audio/speech"),
        ("methods", "POST"),
        ("permission", "read"),
        ("metering", "usage"),
        ("dialect", "openai"),
    ];
    assert!(browser.done(CHANGE, &changed).await.contains("/v1/audio/speech"));
    let routes = bundle(&served).await.routes.unwrap();
    assert_eq!((routes.allow.len(), routes.allow[1].metering()), (2, Metering::Usage));
    assert_eq!(browser.send(CHANGE, &changed).await.status, 404, "it has another name now");

    let close = "/pools/main/routes/close?route=POST+%2Fv1%2Faudio%2Fspeech";
    assert!(browser.page(close).await.contains("Close POST /v1/audio/speech?"));
    assert!(!browser.done(close, &[]).await.contains("/v1/audio"));
    assert_eq!(browser.send(close, &[]).await.status, 404);

    let pool =
        browser.done("/pools/main/registries", &[("registries", "HF.co\r\nregistry.example:5000")]).await;
    assert!(pool.contains("hf.co, registry.example:5000"), "{pool}");
    let routes = bundle(&served).await.routes.unwrap();
    assert_eq!((routes.allow.len(), routes.registries.len()), (1, 2), "what is open stays open");
    assert!(browser.page("/pools/main/registries").await.contains("hf.co\nregistry.example:5000"));
    assert!(browser.page("/audit").await.contains("set routes"));
}

#[tokio::test]
async fn each_mistake_stands_beside_its_field_with_all_words_kept_and_opens_nothing() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    browser.done("/pools/main/routes", IMAGES).await;
    for (field, value, problem) in [
        ("path", "", "would open everything"),
        ("path", "v1/x", "must begin with a slash"),
        ("path", "/pause", "never let through"),
        ("path", "/v1/*", "never let through"),
        ("path", "/api/chat", "knows already"),
        ("path", "/v1/images/*", "is covered by"),
        ("path", "/v1/images/generations", "is covered by"),
        ("methods", "CONNECT", "is not one of"),
        ("methods", "", "is not one of"),
        ("permission", "all", "is not one of these"),
        ("metering", "", "is not one of these"),
        ("dialect", "cohere", "is not one of these"),
        ("upstream", "a b", "contains"),
    ] {
        let usual = [("path", "/v1/kept"), ("upstream", "kept-engine")];
        let mut fields: Vec<_> =
            IMAGES.iter().copied().chain(usual).filter(|(name, _)| *name != field).collect();
        fields.retain(|of| *of != IMAGES[0]);
        fields.push((field, value));
        let page = browser.refused("/pools/main/routes", &fields).await;
        let (_, error) =
            page.split_once(&format!("id=\"{field}-error\">")).unwrap_or_else(|| panic!("{field}: {page}"));
        let error = error.split('<').next().unwrap();
        assert!(error.contains(problem), "{field} {value}: {error}");
        assert!(field == "upstream" || page.contains("kept-engine"), "{field}: words are lost: {page}");
    }
    let tokens =
        [IMAGES[0], ("methods", "GET"), ("permission", "read"), ("metering", "usage"), ("dialect", "openai")];
    assert!(browser.refused("/pools/main/routes", &tokens).await.contains("id=\"metering-error\""));
    let registry = browser.refused("/pools/main/registries", &[("registries", "hf.co\nhttps://x")]).await;
    assert!(registry.contains("id=\"registries-error\"") && registry.contains("https://x"), "{registry}");
    assert_eq!(bundle(&served).await.routes.unwrap().allow.len(), 1);
}

/// What two open at once is both open then.
#[tokio::test]
async fn routes_that_are_opened_at_the_same_time_are_all_open() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let open = async |path: &str| {
        let fields = [&[("path", path)], &IMAGES[1..]].concat();
        assert_eq!(browser.send("/pools/main/routes", &fields).await.status, 303);
    };
    tokio::join!(open("/v1/a"), open("/v1/b"), open("/v1/c"), open("/v1/d"));
    assert_eq!(bundle(&served).await.routes.unwrap().allow.len(), 4);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_a_form_from_elsewhere_is_not_taken() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    for path in [
        "/pools/nowhere",
        "/pools/nowhere/routes/new",
        "/pools/nowhere/registries",
        "/pools/main/routes/change",
        "/pools/main/routes/change?route=POST+/none",
        "/pools/main/routes/close?route=POST+/none",
        "/tenants/nobody/dids",
        "/tenants/nobody/dids/remove",
        "/tenants/nobody/providers/new",
    ] {
        assert_eq!(browser.client().get(path).await.status, 404, "{path}");
    }
    for path in [
        "/pools/nowhere/routes",
        "/pools/nowhere/registries",
        "/pools/main/routes/close?route=POST+/none",
        "/tenants/nobody/dids",
        "/tenants/nobody/dids/remove",
        "/tenants/nobody/providers",
    ] {
        assert_eq!(browser.send(path, IMAGES).await.status, 404, "{path}");
    }
    for path in [
        "/pools/main/routes",
        "/pools/main/routes/change?route=POST+/x",
        "/pools/main/routes/close?route=POST+/x",
        "/pools/main/registries",
        "/tenants/acme/dids",
        "/tenants/acme/dids/remove",
        "/tenants/acme/providers",
    ] {
        assert_eq!(
            post(browser.client(), path, IMAGES).await.status,
            403,
            "{path}: without the session's mark"
        );
        let foreign = browser.client().with_header("origin", "https://evil.example");
        assert_eq!(post(foreign, path, IMAGES).await.status, 403, "{path}: from another site");
        let nobody = post(served.anybody(), path, IMAGES).await;
        assert_eq!((nobody.status.as_u16(), nobody.header("location")), (303, Some("/sign-in")), "{path}");
    }
}
