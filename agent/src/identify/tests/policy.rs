//! What a provider may demand of its tokens beyond the general rules. Of each demand: a token that meets it, and its twin
//! that differs in one thing.

use super::{
    issuer::{TestIssuer, jwks},
    mint::TestKey,
    *,
};

/// One demand: what is said of the provider, what is changed in the token, and the verdict.
type Case = (&'static str, fn(&mut v1::IdentityProvider), fn(&mut Value, &mut Value), &'static str);

fn nothing(_: &mut Value, _: &mut Value) {}

fn demand_claim(provider: &mut v1::IdentityProvider, claim: &str, any_of: &[&str]) {
    let any_of = any_of.iter().map(|&text| text.to_owned()).collect();
    provider.required_claims.push(v1::RequiredClaim { claim: claim.to_owned(), any_of, absent: false });
}

const AT_JWT_ALONE: fn(&mut v1::IdentityProvider) = |p| p.token_types = vec![v1::TokenType::AtJwt.into()];
const JWT_ALONE: fn(&mut v1::IdentityProvider) = |p| p.token_types = vec![v1::TokenType::Jwt.into()];
const ID_ALONE: fn(&mut v1::IdentityProvider) = |p| p.token_types = vec![v1::TokenType::Id.into()];
const SCOPES: fn(&mut v1::IdentityProvider) =
    |p| p.required_scopes = vec!["chat".to_owned(), "run".to_owned()];
const CLIENTS: fn(&mut v1::IdentityProvider) = |p| p.clients = vec!["web".to_owned(), "cli".to_owned()];
const VERIFIED: fn(&mut v1::IdentityProvider) = |p| demand_claim(p, "/email_verified", &["true"]);
const OF_ACME: fn(&mut v1::IdentityProvider) = |p| demand_claim(p, "/org/names", &["acme", "globex"]);
const PRESENT: fn(&mut v1::IdentityProvider) = |p| demand_claim(p, "/jti", &[]);
const ABSENT: fn(&mut v1::IdentityProvider) = |p| {
    let claim = "/act".to_owned();
    p.required_claims.push(v1::RequiredClaim { claim, any_of: Vec::new(), absent: true });
};
const MAX_AGE: fn(&mut v1::IdentityProvider) = |p| {
    p.max_age = Some(Duration::from_secs(100).into());
    p.clock_skew = Some(Duration::from_secs(10).into());
};
const NO_SKEW: fn(&mut v1::IdentityProvider) = |p| p.clock_skew = Some(Duration::from_secs(1).into());
const ORGANISATIONS: fn(&mut v1::IdentityProvider) = |p| {
    p.organisations = vec!["org_1".to_owned(), "org_2".to_owned()];
    p.claims = Some(v1::ClaimMapping { organisation: "/org_id".to_owned(), ..Default::default() });
};
const BY_CLIENT_ID: fn(&mut v1::IdentityProvider) = |p| p.audience_claim = "/client_id".to_owned();

const CASES: &[Case] = &[
    // Kinds
    ("at+jwt alone: at+jwt", AT_JWT_ALONE, |h, _| h["typ"] = json!("at+jwt"), "ok"),
    ("at+jwt alone: JWT", AT_JWT_ALONE, nothing, "type_not_allowed"),
    ("at+jwt alone: no type", AT_JWT_ALONE, |h, _| remove(h, "typ"), "type_not_allowed"),
    (
        "at+jwt alone: an ID token that says at+jwt",
        AT_JWT_ALONE,
        |h, c| {
            h["typ"] = json!("at+jwt");
            c["at_hash"] = json!("x");
        },
        "not_access_token",
    ),
    ("JWT alone: JWT", JWT_ALONE, nothing, "ok"),
    ("JWT alone: no type", JWT_ALONE, |h, _| remove(h, "typ"), "ok"),
    ("JWT alone: at+jwt", JWT_ALONE, |h, _| h["typ"] = json!("at+jwt"), "type_not_allowed"),
    (
        "access tokens: a hash of an access token",
        |_| {},
        |_, c| c["at_hash"] = json!("x"),
        "not_access_token",
    ),
    ("access tokens: a hash of a code", |_| {}, |_, c| c["c_hash"] = json!("x"), "not_access_token"),
    ("access tokens: a hash of a state", |_| {}, |_, c| c["s_hash"] = json!("x"), "not_access_token"),
    ("access tokens: a nonce", |_| {}, |_, c| c["nonce"] = json!("x"), "not_access_token"),
    (
        "access tokens: a nonce beside scopes",
        |_| {},
        |_, c| {
            c["nonce"] = json!("x");
            c["scope"] = json!("chat");
        },
        "ok",
    ),
    (
        "access tokens: a nonce beside a list of scopes",
        |_| {},
        |_, c| {
            c["nonce"] = json!("x");
            c["scp"] = json!(["chat"]);
        },
        "ok",
    ),
    ("access tokens: token_use id", |_| {}, |_, c| c["token_use"] = json!("id"), "not_access_token"),
    ("access tokens: token_use access", |_| {}, |_, c| c["token_use"] = json!("access"), "ok"),
    ("access tokens: drn DSR", |_| {}, |_, c| c["drn"] = json!("DSR"), "not_access_token"),
    ("access tokens: drn DS", |_| {}, |_, c| c["drn"] = json!("DS"), "ok"),
    (
        "access tokens: a proof of possession without its type",
        |_| {},
        |_, c| {
            c["htm"] = json!("POST");
            c["htu"] = json!("https://gateway.test/");
        },
        "not_access_token",
    ),
    ("access tokens: half of a proof", |_| {}, |_, c| c["htm"] = json!("POST"), "ok"),
    ("ID tokens: a hash", ID_ALONE, |_, c| c["at_hash"] = json!("x"), "ok"),
    ("ID tokens: a nonce", ID_ALONE, |_, c| c["nonce"] = json!("x"), "ok"),
    ("ID tokens: nothing that shows it", ID_ALONE, nothing, "ok"),
    ("ID tokens: at+jwt", ID_ALONE, |h, _| h["typ"] = json!("at+jwt"), "type_not_allowed"),
    (
        "ID tokens: one that says at+jwt",
        ID_ALONE,
        |h, c| {
            h["typ"] = json!("at+jwt");
            c["at_hash"] = json!("x");
        },
        "not_access_token",
    ),
    ("ID tokens: a logout token", ID_ALONE, |_, c| c["typ"] = json!("Logout"), "not_access_token"),
    // Scopes
    ("scopes: both", SCOPES, |_, c| c["scope"] = json!("run chat more"), "ok"),
    ("scopes: both, listed", SCOPES, |_, c| c["scp"] = json!(["run", "chat"]), "ok"),
    ("scopes: both, listed under scope", SCOPES, |_, c| c["scope"] = json!(["run", "chat"]), "ok"),
    (
        "scopes: one here, one there",
        SCOPES,
        |_, c| {
            c["scope"] = json!("run");
            c["scp"] = json!("chat");
        },
        "ok",
    ),
    ("scopes: one", SCOPES, |_, c| c["scope"] = json!("chat"), "missing_scope"),
    ("scopes: none", SCOPES, nothing, "missing_scope"),
    ("scopes: a longer one", SCOPES, |_, c| c["scope"] = json!("chat run2"), "missing_scope"),
    ("scopes: in capitals", SCOPES, |_, c| c["scope"] = json!("CHAT run"), "missing_scope"),
    ("scopes: with commas", SCOPES, |_, c| c["scope"] = json!("chat,run"), "missing_scope"),
    ("scopes: an object", SCOPES, |_, c| c["scope"] = json!({"chat": 1, "run": 1}), "missing_scope"),
    // Clients
    ("clients: azp", CLIENTS, |_, c| c["azp"] = json!("cli"), "ok"),
    ("clients: client_id", CLIENTS, |_, c| c["client_id"] = json!("web"), "ok"),
    ("clients: cid", CLIENTS, |_, c| c["cid"] = json!("web"), "ok"),
    ("clients: appid", CLIENTS, |_, c| c["appid"] = json!("web"), "ok"),
    ("clients: another", CLIENTS, |_, c| c["azp"] = json!("other"), "client_not_allowed"),
    (
        "clients: another by the first name, ours by the second",
        CLIENTS,
        |_, c| {
            c["azp"] = json!("other");
            c["client_id"] = json!("web");
        },
        "client_not_allowed",
    ),
    ("clients: none", CLIENTS, nothing, "client_not_allowed"),
    ("clients: a list", CLIENTS, |_, c| c["azp"] = json!(["web"]), "client_not_allowed"),
    // Claims
    ("required claim: true", VERIFIED, |_, c| c["email_verified"] = json!(true), "ok"),
    ("required claim: true as text", VERIFIED, |_, c| c["email_verified"] = json!("true"), "ok"),
    ("required claim: false", VERIFIED, |_, c| c["email_verified"] = json!(false), "required_claim"),
    ("required claim: missing", VERIFIED, nothing, "required_claim"),
    ("required claim: null", VERIFIED, |_, c| c["email_verified"] = json!(null), "required_claim"),
    ("required claim: one of a list", OF_ACME, |_, c| c["org"] = json!({"names": ["x", "globex"]}), "ok"),
    ("required claim: none of a list", OF_ACME, |_, c| c["org"] = json!({"names": ["x"]}), "required_claim"),
    ("required claim: an empty list", OF_ACME, |_, c| c["org"] = json!({"names": []}), "required_claim"),
    (
        "required claim: named by an object",
        OF_ACME,
        |_, c| c["org"] = json!({"names": {"acme": true}}),
        "required_claim",
    ),
    ("required claim: there", PRESENT, |_, c| c["jti"] = json!(""), "ok"),
    ("required claim: not there", PRESENT, nothing, "required_claim"),
    ("required claim: there as null", PRESENT, |_, c| c["jti"] = json!(null), "required_claim"),
    ("forbidden claim: not there", ABSENT, nothing, "ok"),
    ("forbidden claim: there", ABSENT, |_, c| c["act"] = json!({"sub": "x"}), "required_claim"),
    ("forbidden claim: there as null", ABSENT, |_, c| c["act"] = json!(null), "required_claim"),
    // Ages, a hundred seconds and ten of skew
    ("age: young", MAX_AGE, |_, c| c["iat"] = json!(NOW - 109), "ok"),
    ("age: as old as it may be", MAX_AGE, |_, c| c["iat"] = json!(NOW - 110), "too_old"),
    ("age: not told", MAX_AGE, |_, c| remove(c, "iat"), "missing_issue_time"),
    ("age: from the future, within skew", MAX_AGE, |_, c| c["iat"] = json!(NOW + 10), "ok"),
    ("age: from the future", MAX_AGE, |_, c| c["iat"] = json!(NOW + 11), "issued_in_future"),
    ("skew of a second: just ended", NO_SKEW, |_, c| c["exp"] = json!(NOW), "ok"),
    ("skew of a second: a second ago", NO_SKEW, |_, c| c["exp"] = json!(NOW - 1), "expired"),
    ("skew of a second: begins in a second", NO_SKEW, |_, c| c["nbf"] = json!(NOW + 1), "ok"),
    ("skew of a second: begins in two", NO_SKEW, |_, c| c["nbf"] = json!(NOW + 2), "not_yet_valid"),
    // Organisations
    ("organisation: ours", ORGANISATIONS, |_, c| c["org_id"] = json!("org_2"), "ok"),
    ("organisation: ours, listed", ORGANISATIONS, |_, c| c["org_id"] = json!(["org_9", "org_2"]), "ok"),
    ("organisation: ours, an object's name", ORGANISATIONS, |_, c| c["org_id"] = json!({"org_2": {}}), "ok"),
    ("organisation: another", ORGANISATIONS, |_, c| c["org_id"] = json!("org_3"), "wrong_organisation"),
    ("organisation: none", ORGANISATIONS, nothing, "wrong_organisation"),
    ("organisation: a number", ORGANISATIONS, |_, c| c["org_id"] = json!(2), "wrong_organisation"),
    // Audience
    ("audience by client_id: ours", BY_CLIENT_ID, |_, c| c["client_id"] = json!(AUDIENCE), "ok"),
    ("audience by client_id: ours is in aud alone", BY_CLIENT_ID, nothing, "missing_audience"),
    ("audience by client_id: another", BY_CLIENT_ID, |_, c| c["client_id"] = json!("x"), "wrong_audience"),
];

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

fn said(issuer: &str, say: fn(&mut v1::IdentityProvider)) -> IdentityProvider {
    let mut wire = v1::IdentityProvider {
        id: "idp".to_owned(),
        tenant: "acme".to_owned(),
        issuer: issuer.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        ..v1::IdentityProvider::default()
    };
    say(&mut wire);
    wire.try_into().unwrap()
}

#[tokio::test]
async fn t1_each_demand_of_a_provider_is_met_or_named() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    for (name, say, edit, expected) in CASES {
        let world = World::new(vec![said(&issuer.url, *say)]);
        world.settled().await;
        let (mut header, mut claims) = (key.header(), claims(&issuer.url));
        edit(&mut header, &mut claims);
        let token = key.sign(&header.to_string(), &claims.to_string(), "ES256");
        assert_eq!(world.verdict(&token).await, *expected, "{name}");
    }
}

#[tokio::test]
async fn tenants_of_one_application_are_told_apart_by_organisation_and_never_by_more_than_one() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let of = |tenant: &str, organisation: &str| {
        let mut provider = provider("idp", tenant, &issuer.url, AUDIENCE);
        provider.claims.organisation = attach_proto::bundle::ClaimPath::parse("/org_id");
        provider.organisations = vec![organisation.to_owned()];
        provider
    };
    let world = World::new(vec![of("acme", "org_a"), of("globex", "org_g")]);
    world.settled().await;
    let verdict = async |organisation: Value| {
        let mut claims = claims(&issuer.url);
        claims["org_id"] = organisation;
        match world.bearer(&key.token(&claims)).await {
            Ok(principal) => format!("{} as {:?}", principal.tenant, principal.organisation),
            Err(fault) => fault.code().to_owned(),
        }
    };
    assert_eq!(verdict(json!("org_a")).await, r#"acme as Some("org_a")"#);
    assert_eq!(verdict(json!("org_g")).await, r#"globex as Some("org_g")"#);
    assert_eq!(verdict(json!(["org_x", "org_g"])).await, r#"globex as Some("org_g")"#);
    assert_eq!(verdict(json!(["org_a", "org_g"])).await, "ambiguous_organisation");
    assert_eq!(verdict(json!("org_x")).await, "wrong_organisation");
}

#[tokio::test]
async fn t11_keys_that_came_with_the_bundle_ask_nobody_and_have_no_end() {
    let (held, other) = (TestKey::p256("k"), TestKey::p256("other"));
    // Nobody listens there.
    let issuer = "http://127.0.0.1:9";
    let with = |key: &TestKey| {
        let mut provider = provider("idp", "acme", issuer, AUDIENCE);
        provider.jwks = Some(jwks(&[key]).to_string().into());
        provider
    };
    let mut world = World::new(vec![with(&held)]);
    assert_eq!(world.verdict(&held.token(&claims(issuer))).await, "ok");
    assert_eq!(world.verdict(&other.token(&claims(issuer))).await, "unknown_key");
    world.advance(Duration::from_secs(48 * 3600));
    let mut later = claims(issuer);
    later["exp"] = json!(NOW + 50 * 3600);
    assert_eq!(world.verdict(&held.token(&later)).await, "ok");
    let status = &world.issuers.status()[0];
    assert_eq!((status.usable, status.stale, status.last_error.as_ref()), (true, false, None));

    // Another bundle with another set: the verdict of before does not outlive it.
    world.snapshot = bundle(2, vec![with(&other)], Vec::new());
    world.issuers.apply(&world.snapshot);
    assert_eq!(world.verdict(&held.token(&later)).await, "unknown_key");
    assert_eq!(world.verdict(&other.token(&later)).await, "ok");
}
