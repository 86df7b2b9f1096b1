//! Whom a verified credential stands for: tenant, kind, user, groups, and what the engine is told.

use super::{issuer::TestIssuer, mint::TestKey, *};
use attach_proto::{
    bundle::{Algorithm, ClaimMapping, ClaimPath},
    usage::PrincipalKind,
};
use base64::Engine;

#[tokio::test]
async fn t8_the_tenant_follows_from_issuer_and_audience_alone() {
    let (a, b) = (TestKey::p256("same"), TestKey::p256("same"));
    let (of_acme, of_globex) = (TestIssuer::start(&[&a]).await, TestIssuer::start(&[&b]).await);
    let world = World::new(vec![
        provider("a", "acme", &of_acme.url, AUDIENCE),
        provider("b", "globex", &of_globex.url, AUDIENCE),
    ]);
    world.settled().await;
    let mut of_a = claims(&of_acme.url);
    of_a["tenant"] = json!("globex");
    assert_eq!(world.bearer(&a.token(&of_a)).await.unwrap().tenant.as_str(), "acme");
    assert_eq!(world.bearer(&b.token(&claims(&of_globex.url))).await.unwrap().tenant.as_str(), "globex");
    // The same key id is another key at the other issuer.
    assert_eq!(world.verdict(&a.token(&claims(&of_globex.url))).await, "bad_signature");
    assert_eq!(world.verdict(&b.token(&claims(&of_acme.url))).await, "bad_signature");
}

#[tokio::test]
async fn t8_two_tenants_of_one_issuer_are_told_apart_by_audience_and_share_its_keys() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let mut narrow = provider("b", "globex", &issuer.url, "for-globex");
    narrow.algorithms = vec![Algorithm::Rs256];
    let world = World::new(vec![
        provider("a", "acme", &issuer.url, "for-acme"),
        provider("c", "globex", &issuer.url, "also-globex"),
        narrow,
    ]);
    world.settled().await;
    let mut claims = claims(&issuer.url);
    let verdict = async |aud: Value| {
        let mut claims = claims.clone();
        claims["aud"] = aud;
        match world.bearer(&key.token(&claims)).await {
            Ok(principal) => principal.tenant.to_string(),
            Err(fault) => fault.code().to_owned(),
        }
    };
    assert_eq!(verdict(json!("for-acme")).await, "acme");
    assert_eq!(verdict(json!(["also-globex", "x"])).await, "globex");
    assert_eq!(verdict(json!(["for-acme", "also-globex"])).await, "ambiguous_audience");
    assert_eq!(verdict(json!("for-globex")).await, "algorithm_not_allowed");
    assert_eq!(verdict(json!("for-nobody")).await, "wrong_audience");
    assert_eq!(issuer.key_requests(), 1);
    claims["aud"] = json!("for-acme");
    assert!(world.bearer(&key.token(&claims)).await.is_ok());
}

#[tokio::test]
async fn claims_are_found_by_their_pointers_and_forwarded_by_their_last_names() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let mut provider = provider("idp", "acme", &issuer.url, AUDIENCE);
    let pointer = |text: &str| ClaimPath::parse(text).unwrap();
    provider.claims = ClaimMapping {
        user: pointer("/email"),
        groups: pointer("/https:~1~1acme.com~1roles"),
        project: Some(pointer("/ext/project")),
        cost_centre: Some(pointer("/ext/cost")),
        forwarded: vec![pointer("/ext/project"), pointer("/email"), pointer("/list/1"), pointer("/absent")],
        ..provider.claims
    };
    let world = World::new(vec![provider]);
    world.settled().await;
    let mut claims = claims(&issuer.url);
    claims["email"] = json!("alice@acme.com");
    claims["https://acme.com/roles"] = json!(["admin", 7, "dev"]);
    claims["ext"] = json!({"project": "apollo", "cost": "4711"});
    claims["roles"] = json!(["chief", 7]);
    claims["scope"] = json!("chat  read");
    claims["scp"] = json!(["more"]);
    claims["list"] = json!(["a", {"b": "c"}]);
    let principal = world.bearer(&key.token(&claims)).await.unwrap();
    assert_eq!(principal.subject, "alice@acme.com");
    assert_eq!(principal.groups, ["admin", "dev"]);
    assert_eq!(principal.roles, ["chief"]);
    assert_eq!(principal.scopes, ["chat", "read", "more"]);
    assert_eq!(principal.email.as_deref(), Some("alice@acme.com"));
    assert_eq!(principal.project.as_deref(), Some("apollo"));
    assert_eq!(principal.cost_centre.as_deref(), Some("4711"));
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(principal.forwarded_claims.as_ref().unwrap())
        .unwrap();
    let forwarded: Value = serde_json::from_slice(&decoded).unwrap();
    assert_eq!(forwarded, json!({"project": "apollo", "email": "alice@acme.com", "1": {"b": "c"}}));

    assert_eq!(principal.provider.as_ref().unwrap().as_str(), "idp");

    // 3072 bytes of JSON are 4096 of base64.
    let email = "alice@acme.com";
    claims["list"] = json!([]);
    for (bytes, fits) in [(3072, true), (3073, false)] {
        let project = "x".repeat(bytes - json!({"project": "", "email": email}).to_string().len());
        claims["ext"] = json!({ "project": project });
        let principal = world.bearer(&key.token(&claims)).await.unwrap();
        assert_eq!(principal.forwarded_claims.is_some(), fits, "{bytes}");
    }

    claims["https://acme.com/roles"] = json!("admin");
    claims["ext"] = json!({"project": "x".repeat(5000)});
    let principal = world.bearer(&key.token(&claims)).await.unwrap();
    assert_eq!(principal.groups, ["admin"]);
    assert_eq!(principal.project, None);
    assert_eq!(principal.forwarded_claims, None, "longer than 4 KiB");

    for unfit in [json!(""), json!("a\nb"), json!(7)] {
        claims["ext"] = json!({ "project": unfit });
        assert_eq!(world.bearer(&key.token(&claims)).await.unwrap().project, None, "{unfit}");
    }
    for (email, problem) in [(Value::Null, "is not a string"), (json!(""), "is empty")] {
        claims["email"] = email;
        let fault = world.bearer(&key.token(&claims)).await.unwrap_err().to_string();
        assert!(fault.contains(problem), "{fault}");
    }
    claims.as_object_mut().unwrap().remove("email");
    let fault = world.bearer(&key.token(&claims)).await.unwrap_err().to_string();
    assert!(fault.contains("is missing"), "{fault}");
}

#[tokio::test]
async fn a_token_that_names_neither_subject_nor_client_is_a_persons() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let mut provider = provider("idp", "acme", &issuer.url, AUDIENCE);
    provider.claims.user = ClaimPath::parse("/email").unwrap();
    let world = World::new(vec![provider]);
    world.settled().await;
    let mut claims = claims(&issuer.url);
    claims.as_object_mut().unwrap().remove("sub");
    claims["email"] = json!("alice@acme.com");
    let principal = world.bearer(&key.token(&claims)).await.unwrap();
    assert_eq!((principal.kind, principal.subject.as_str()), (PrincipalKind::User, "alice@acme.com"));
}

#[tokio::test]
async fn a_client_that_acts_for_itself_is_a_service_and_a_person_is_not() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let cases = [
        ("person", json!({"azp": "app"}), PrincipalKind::User),
        ("person, other name", json!({"preferred_username": "service-account-x"}), PrincipalKind::User),
        (
            "Auth0",
            json!({"sub": "app@clients", "azp": "app", "gty": "client-credentials"}),
            PrincipalKind::Service,
        ),
        ("Hydra", json!({"sub": "app", "client_id": "app"}), PrincipalKind::Service),
        ("RFC 9068", json!({"sub": "app", "azp": "app"}), PrincipalKind::Service),
        (
            "Keycloak",
            json!({"client_id": "svc", "preferred_username": "service-account-svc"}),
            PrincipalKind::Service,
        ),
    ];
    for (name, more, expected) in cases {
        let mut claims = claims(&issuer.url);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(world.bearer(&key.token(&claims)).await.unwrap().kind, expected, "{name}");
    }
}

#[tokio::test]
async fn an_api_key_is_known_by_either_header_until_it_expires() {
    let mut expiring = api_key("k2", "globex", "any.string.with-dots");
    expiring.expires_at = Some(jiff::Timestamp::from_second(NOW + 10).unwrap());
    let world = World::with(bundle(1, Vec::new(), vec![api_key("k1", "acme", "sk-good"), expiring]), quick());
    let by_key = world.headers(&[("x-api-key", "sk-good")]).await.unwrap();
    let by_bearer = world.headers(&[("authorization", "bearer sk-good")]).await.unwrap();
    assert_eq!(by_key, by_bearer);
    assert_eq!(
        (by_key.tenant.as_str(), by_key.kind, by_key.subject.as_str(), by_key.groups.as_slice()),
        ("acme", PrincipalKind::Key, "owner-of-k1", &["ops".to_owned()][..])
    );
    for wrong in ["sk-goo", "sk-goods", "SK-GOOD", "' OR pg_sleep(5)--"] {
        let verdict = world.headers(&[("x-api-key", wrong)]).await.unwrap_err().code();
        assert!(["unknown_api_key", "two_credentials"].contains(&verdict), "{wrong}");
    }
    assert_eq!(world.bearer("any.string.with-dots").await.unwrap().tenant.as_str(), "globex");
    world.advance(Duration::from_secs(9));
    assert!(world.bearer("any.string.with-dots").await.is_ok());
    world.advance(Duration::from_secs(1));
    assert_eq!(world.verdict("any.string.with-dots").await, "expired_api_key", "also from the cache");
    assert_eq!(world.headers(&[]).await.unwrap_err().code(), "no_credential");
}

#[tokio::test]
async fn t15_a_request_with_two_credentials_is_refused_even_if_both_are_good() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let good = format!("Bearer {}", key.token(&claims(&issuer.url)));
    for lines in [
        [("authorization", good.as_str()), ("x-api-key", "sk-good")],
        [("authorization", "Bearer bad"), ("authorization", &good)],
        [("authorization", &good), ("authorization", &good)],
    ] {
        assert_eq!(world.headers(&lines).await.unwrap_err().code(), "two_credentials");
    }
    let list = format!("{good}, Bearer sk-good");
    assert_eq!(world.headers(&[("authorization", &list)]).await.unwrap_err().code(), "two_credentials");
    assert!(world.headers(&[("authorization", &good)]).await.is_ok());
}

#[tokio::test]
async fn t8_providers_of_one_issuer_with_keys_at_two_places_do_not_share_them() {
    let (a, b) = (TestKey::p256("of-acme"), TestKey::p256("of-globex"));
    let (of_acme, of_globex) = (TestIssuer::start(&[&a]).await, TestIssuer::start(&[&b]).await);
    let at = |id, tenant, audience, issuer: &TestIssuer| {
        let mut provider = provider(id, tenant, "https://name.test", audience);
        provider.jwks_url = Some(format!("{}/keys", issuer.url).parse().unwrap());
        provider
    };
    let world =
        World::new(vec![at("a", "acme", "for-acme", &of_acme), at("b", "globex", "for-globex", &of_globex)]);
    eventually("both are heard", || world.issuers.status().iter().all(|it| it.keys > 0)).await;
    let verdict = async |key: &TestKey, audience: &str| {
        let mut claims = claims("https://name.test");
        claims["aud"] = json!(audience);
        world.verdict(&key.token(&claims)).await
    };
    assert_eq!(verdict(&a, "for-acme").await, "ok");
    assert_eq!(verdict(&b, "for-globex").await, "ok");
    assert_eq!(verdict(&b, "for-acme").await, "unknown_key");
    assert_eq!(verdict(&a, "for-globex").await, "unknown_key");
}
