//! The form of an identity provider: what it shows first, what it keeps, and where it says what is wrong.

use super::*;
use attach_proto::v1::{IdentityProduct, IdentityProvider, Proof, TokenType};

/// All that can be said of one.
const WHOLE: &[(&str, &str)] = &[
    ("id", "login"),
    ("issuer", "https://login.example/"),
    ("audiences", "api\r\nurn:a,b"),
    ("product", "okta"),
    ("algorithms", "RS256"),
    ("algorithms", "EdDSA"),
    ("token_types", "at_jwt"),
    ("required_scopes", "chat\r\nread"),
    ("required_claims", "/email_verified = true\r\n/tier = gold, silver\r\n/there"),
    ("clients", "web"),
    ("max_age", "3,600"),
    ("clock_skew", "5"),
    ("audience_claim", "/client_id"),
    ("proofs", "dpop"),
    ("proofs", "certificate"),
    ("user", "/uid"),
    ("email", "/mail"),
    ("groups", "/realm/groups"),
    ("roles", "*/roles"),
    ("project", "/project"),
    ("cost_centre", "/cc"),
    ("forwarded", "/a\r\n/b"),
    ("organisation", "/org"),
    ("organisations", "Acme, Inc\r\nother"),
    ("jwks", KEYS),
];

/// With the key of RFC 8037, appendix A.2.
const KEYS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const PATH: &str = "/tenants/acme/providers";

async fn only(served: &Served) -> IdentityProvider {
    let mut providers = bundle(served).await.identity_providers;
    assert_eq!(providers.len(), 1);
    providers.remove(0)
}

#[tokio::test]
async fn all_that_is_said_of_a_provider_reaches_the_gateways_and_stands_in_the_form_again() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let tenant = browser.done(PATH, WHOLE).await;
    assert!(tenant.contains("https://login.example/") && tenant.contains("Okta"), "{tenant}");

    let provider = only(&served).await;
    assert_eq!(provider.audiences, ["api", "urn:a,b"]);
    assert_eq!(provider.product(), IdentityProduct::Okta);
    assert_eq!(provider.algorithms, ["RS256", "EdDSA"]);
    assert_eq!(provider.token_types, [i32::from(TokenType::AtJwt)]);
    assert_eq!(provider.proofs, [i32::from(Proof::Dpop), i32::from(Proof::Certificate)]);
    assert_eq!(provider.required_scopes, ["chat", "read"]);
    let required: Vec<_> =
        provider.required_claims.iter().map(|of| (of.claim.as_str(), of.any_of.join("|"))).collect();
    let expected = [("/email_verified", "true"), ("/tier", "gold|silver"), ("/there", "")];
    assert_eq!(required, expected.map(|(claim, any_of)| (claim, any_of.to_owned())));
    assert_eq!((provider.max_age.unwrap().seconds, provider.clock_skew.unwrap().seconds), (3600, 5));
    assert_eq!((provider.clients, provider.audience_claim.as_str()), (vec!["web".to_owned()], "/client_id"));
    assert_eq!(provider.organisations, ["Acme, Inc", "other"]);
    assert_eq!(provider.jwks, KEYS);
    let claims = provider.claims.unwrap();
    assert_eq!([&claims.user, &claims.email, &claims.groups], ["/uid", "/mail", "/realm/groups"]);
    assert_eq!([&claims.roles, &claims.project, &claims.cost_centre], ["*/roles", "/project", "/cc"]);
    assert_eq!(
        (claims.organisation.as_str(), claims.forwarded),
        ("/org", vec!["/a".to_owned(), "/b".to_owned()])
    );

    let form = browser.page(&format!("{PATH}/login")).await;
    assert_eq!(form.matches("<details open>").count(), 4, "what is said is not folded away: {form}");
    for (name, value) in WHOLE.iter().filter(|(name, _)| *name != "id") {
        let (first, _) = value.split_once([',', '\r', '"']).unwrap_or((value, ""));
        assert!(form.contains(first), "{name}: {form}");
    }
    assert!(form.contains("Taken as Okta, as you say") && form.contains("/cid is there"), "{form}");
}

#[tokio::test]
async fn what_an_issuer_s_address_tells_is_shown_before_anything_is_saved() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let auth0 = [("id", "staff"), ("issuer", "https://acme.eu.auth0.com/"), ("audiences", "api")];
    let look = [&auth0[..], &[("look", "1")]].concat();
    let answer = browser.send(PATH, &look).await;
    assert_eq!(answer.status, 200);
    let shown = answer.text();
    for text in
        ["Known as Auth0, by its address", "User from", "/sub", "*/roles", "RS256, PS256", "value=\"staff\""]
    {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert_eq!(bundle(&served).await.identity_providers, [], "it was a look");
    let unknown =
        [&[("issuer", "https://login.example"), ("audiences", "api"), ("look", "1")][..], &auth0[..1]]
            .concat();
    assert!(browser.send(PATH, &unknown).await.text().contains("No product that is known by its address"));
    let wrong =
        [&[("issuer", "login.example"), ("audiences", "api"), ("look", "1")][..], &auth0[..1]].concat();
    assert!(browser.refused(PATH, &wrong).await.contains("id=\"issuer-error\""));

    assert!(browser.done(PATH, &auth0).await.contains("Auth0"));
    let form = browser.page(&format!("{PATH}/staff")).await;
    assert!(form.contains("Known as Auth0, by its address") && !form.contains("<details open>"), "{form}");
    let more =
        [("issuer", "https://acme.eu.auth0.com/"), ("audiences", "api"), ("user", "/email"), ("look", "1")];
    let shown = browser.send(&format!("{PATH}/staff"), &more).await.text();
    assert!(!shown.contains("User from") && shown.contains("Groups from"), "{shown}");
    assert_eq!(only(&served).await.claims.unwrap().user, "", "it was a look");
}

#[tokio::test]
async fn what_the_form_has_no_way_to_write_stays_while_nobody_touches_it() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let body = serde_json::json!({
        "issuer": "https://login.example/", "audiences": ["api"],
        "required_claims": [{ "claim": "/org", "any_of": ["Acme, Inc", "b"] }],
    });
    let operator = served.operator().with_header("content-type", "application/json");
    let path = "/api/v1/tenants/acme/identity-providers/login";
    let set = operator.send(http::Method::PUT, path, body.to_string()).await.whole().await;
    assert_eq!(set.status, 200, "{}", set.text());
    let same = [
        ("issuer", "https://login.example/"),
        ("audiences", "new"),
        ("required_claims", "/org = Acme, Inc, b"),
    ];
    browser.done(&format!("{PATH}/login"), &same).await;
    let provider = only(&served).await;
    assert_eq!((provider.audiences[0].as_str(), provider.required_claims[0].any_of.len()), ("new", 2));
    let changed = [same[0], same[1], ("required_claims", "/org = Acme, b")];
    browser.done(&format!("{PATH}/login"), &changed).await;
    assert_eq!(only(&served).await.required_claims[0].any_of, ["Acme", "b"]);
    let emptied = [same[0], same[1]];
    browser.done(&format!("{PATH}/login"), &emptied).await;
    assert!(only(&served).await.required_claims.is_empty());
}

#[tokio::test]
async fn each_mistake_stands_beside_its_field_with_all_words_kept_and_its_part_unfolded() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let taken = [("id", "other"), ("issuer", "https://other.example/"), ("audiences", "taken")];
    browser.done("/tenants/globex/providers", &taken).await;
    let long = "x".repeat(1_025);
    for (field, value, problem) in [
        ("id", "a b", "contains"),
        ("issuer", "login.example", "is not a URL"),
        ("issuer", "ftp://login.example", "has the scheme"),
        ("audiences", "", "needs at least one"),
        ("audiences", &long, "must have at most 1024 bytes"),
        ("product", "acme", "is not one of these"),
        ("algorithms", "HS256", "is not one of"),
        ("token_types", "refresh", "is not one of these"),
        ("proofs", "word", "is not one of these"),
        ("required_claims", "email_verified = true", "is not a JSON Pointer"),
        ("max_age", "an hour", "must be a whole number"),
        ("max_age", "0", "must be more than 0s"),
        ("max_age", "99999999999", "must be at most 366 days"),
        ("clock_skew", "601", "must be at most 10 minutes"),
        ("audience_claim", "aud", "is not a JSON Pointer"),
        ("user", "sub", "is not a JSON Pointer"),
        ("forwarded", "/a\r\nb", "is not a JSON Pointer"),
        ("organisation", "", "is of no use"),
        ("jwks_url", "keys.example", "is not a URL"),
        ("jwks", "{}", "needs a list"),
        ("jwks", "{\"keys\": []}", "has no keys"),
        ("jwks", "{\"keys\": [{\"kty\": \"oct\", \"k\": \"AA\"}]}", "none of its 1 keys is usable"),
    ] {
        let mut fields: Vec<_> = WHOLE.iter().copied().filter(|(name, _)| *name != field).collect();
        if field == "jwks_url" {
            fields.retain(|(name, _)| *name != "jwks");
        }
        if field == "organisation" {
            fields.push(("product", "generic"));
            fields.retain(|of| *of != ("product", "okta"));
        }
        fields.extend([(field, value), ("roles", "*/kept-roles")]);
        fields.retain(|of| *of != ("roles", "*/roles"));
        let page = browser.refused(PATH, &fields).await;
        // What is of no use without its claim is the list of organisations.
        let beside = match field {
            "organisation" => "organisations",
            // One bound for both.
            "audiences" if value == long => "issuer",
            other => other,
        };
        let (_, error) =
            page.split_once(&format!("id=\"{beside}-error\">")).unwrap_or_else(|| panic!("{field}: {page}"));
        let error = error.split('<').next().unwrap();
        assert!(error.contains(problem), "{field}: {error}");
        assert!(page.contains("*/kept-roles") && page.contains("silver"), "{field}: words are lost: {page}");
        assert!(page.contains(&format!("href=\"#{beside}\"")), "{field}: the alert leads to it");
        let before = page.split(&format!("id=\"{beside}-error\">")).next().unwrap();
        let folds = before.matches("<details").count() - before.matches("</details>").count();
        assert!(
            folds == 0 || before.rsplit("<details").next().unwrap().starts_with(" open>"),
            "{field} is folded away"
        );
    }
    let theirs = [("id", "mine"), ("issuer", "https://other.example/"), ("audiences", "taken")];
    let page = browser.refused(PATH, &theirs).await;
    assert!(page.contains("id=\"audiences-error\"") && page.contains("is taken"), "{page}");
    assert_eq!(only(&served).await.id, "other", "nothing of it was saved");
}

#[tokio::test]
async fn a_key_set_of_many_keys_goes_through_the_form_and_no_form_is_endless() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let chain = "+x".repeat(400);
    let key = |kid| {
        KEYS[10..KEYS.len() - 3].to_owned() + &format!(", \"kid\": \"{kid}\", \"x5c\": [\"{chain}\"]}}")
    };
    let keys = format!("{{\"keys\": [{}]}}", (0..100).map(key).collect::<Vec<_>>().join(", "));
    assert!(keys.len() > 64 * 1024);
    let fields =
        [("id", "big"), ("issuer", "https://big.example/"), ("audiences", "api"), ("jwks", keys.as_str())];
    browser.done(PATH, &fields).await;
    assert_eq!(only(&served).await.jwks.len(), keys.len());
    let endless = "x".repeat(4 * 1024 * 1024);
    let answer = browser.send(PATH, &[("id", "endless"), ("jwks", endless.as_str())]).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}
