use super::{
    super::identity_provider::{MAX_JWKS_BYTES, MAX_URL_BYTES},
    texts, verdict,
};
use crate::v1::{self, ClaimMapping, IdentityProvider, RequiredClaim};
use std::time::Duration;

fn provider(id: &str, tenant: &str) -> IdentityProvider {
    IdentityProvider {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        issuer: "https://login.example".to_owned(),
        audiences: texts(["api"]),
        ..IdentityProvider::default()
    }
}

fn key_set(bytes: usize) -> String {
    format!(r#"{{"keys":[{{"kid":"{}"}}]}}"#, "k".repeat(bytes - r#"{"keys":[{"kid":""}]}"#.len()))
}

type Edit = fn(&mut IdentityProvider);

fn for_seconds(seconds: u64) -> Option<pbjson_types::Duration> {
    Some(Duration::from_secs(seconds).into())
}

const CASES: &[(&str, Edit, &str)] = &[
    ("nothing more", |_| {}, "ok"),
    ("an issuer in the clear", |p| p.issuer = "http://login.example".to_owned(), "ok"),
    ("an issuer that is none", |p| p.issuer = "login.example".to_owned(), "issuer: "),
    ("an issuer in a file", |p| p.issuer = "file:///etc/passwd".to_owned(), "issuer: "),
    ("an issuer of another scheme", |p| p.issuer = "ftp://login.example".to_owned(), "issuer: "),
    ("an issuer without a host", |p| p.issuer = "https://".to_owned(), "issuer: "),
    ("an issuer as long as may be", |p| p.issuer = long_url(MAX_URL_BYTES), "ok"),
    ("a longer one", |p| p.issuer = long_url(MAX_URL_BYTES + 1), "issuer: must have at most 1024 bytes"),
    ("an audience as long as may be", |p| p.audiences = vec!["a".repeat(MAX_URL_BYTES)], "ok"),
    ("a longer one", |p| p.audiences = vec!["a".repeat(MAX_URL_BYTES + 1)], "issuer: must have at most 1024"),
    ("no audience", |p| p.audiences.clear(), "audiences: needs at least one"),
    ("an empty one beside a good one", |p| p.audiences.push(String::new()), "audiences: needs at least one"),
    ("its audience in another claim", |p| p.audience_claim = "/client_id".to_owned(), "ok"),
    ("in a claim without a place", |p| p.audience_claim = "client_id".to_owned(), "audience_claim: "),
    ("an algorithm", |p| p.algorithms = texts(["RS256", "EdDSA"]), "ok"),
    ("one in small letters", |p| p.algorithms = texts(["RS256", "eddsa"]), "algorithms[1]: "),
    ("none", |p| p.algorithms = texts(["none"]), "algorithms[0]: "),
    ("with a secret", |p| p.algorithms = texts(["HS256"]), "algorithms[0]: "),
    ("of DIDs alone", |p| p.algorithms = texts(["ES256K"]), "algorithms[0]: "),
    ("a type", |p| p.token_types = vec![v1::TokenType::Id.into()], "ok"),
    ("no type", |p| p.token_types = vec![0], "token_types[0]: is not specified"),
    ("a type of later", |p| p.token_types = vec![99], "token_types[0]: 99 is not known"),
    ("a proof", |p| p.proofs = vec![v1::Proof::Dpop.into()], "ok"),
    ("no proof", |p| p.proofs = vec![0], "proofs[0]: is not specified"),
    ("a proof of later", |p| p.proofs = vec![99], "proofs[0]: 99 is not known"),
    ("a product of later", |p| p.product = 99, "product: 99 is not known"),
    ("an address of keys", |p| p.jwks_url = "https://login.example/keys".to_owned(), "ok"),
    ("one that is none", |p| p.jwks_url = "/keys".to_owned(), "jwks_url: "),
    ("one as long as the gateway takes any", |p| p.jwks_url = long_url(MAX_URL_BYTES + 1), "ok"),
    ("one that the control plane keeps", |p| kept(p, MAX_URL_BYTES), "ok"),
    ("a longer one", |p| kept(p, MAX_URL_BYTES + 1), "jwks_url: must have at most 1024 bytes"),
    ("a source of keys of later", |p| p.key_source = 99, "key_source: 99 is not known"),
    ("keys", |p| p.jwks = key_set(100), "ok"),
    ("as many as may be", |p| p.jwks = key_set(MAX_JWKS_BYTES), "ok"),
    ("more", |p| p.jwks = key_set(MAX_JWKS_BYTES + 1), "jwks: is longer than 1048576 bytes"),
    ("an empty set", |p| p.jwks = r#"{"keys":[]}"#.to_owned(), "jwks: has no keys"),
    ("a key alone", |p| p.jwks = r#"{"kty":"EC"}"#.to_owned(), "jwks: is no JSON Web Key Set: it needs"),
    ("no JSON", |p| p.jwks = "-----BEGIN".to_owned(), "jwks: is no JSON Web Key Set: "),
    (
        "keys, and where they are",
        |p| {
            p.jwks = key_set(100);
            p.jwks_url = "https://login.example/keys".to_owned();
        },
        "jwks_url: and jwks are both given",
    ),
    ("a skew", |p| p.clock_skew = for_seconds(1), "ok"),
    ("none", |p| p.clock_skew = for_seconds(0), "clock_skew: must be more than 0s"),
    ("an age", |p| p.max_age = for_seconds(366 * 24 * 3600), "ok"),
    ("a greater one", |p| p.max_age = for_seconds(366 * 24 * 3600 + 1), "max_age: must be more than 0s"),
    ("a scope", |p| p.required_scopes = texts(["chat"]), "ok"),
    ("an empty one", |p| p.required_scopes = texts(["chat", ""]), "required_scopes[1]: is empty"),
    ("a client", |p| p.clients = texts(["web"]), "ok"),
    ("an empty one", |p| p.clients = texts([""]), "clients[0]: is empty"),
    ("a claim", |p| p.required_claims = vec![claim("/jti")], "ok"),
    ("one without a place", |p| p.required_claims = vec![claim("jti")], "required_claims[0].claim: "),
    (
        "one that must be absent",
        |p| p.required_claims = vec![RequiredClaim { absent: true, ..claim("/nonce") }],
        "ok",
    ),
    (
        "and has a value",
        |p| {
            let any_of = texts(["x"]);
            p.required_claims = vec![RequiredClaim { absent: true, any_of, ..claim("/nonce") }];
        },
        "required_claims[0].any_of: says what a claim is that must be absent",
    ),
    ("an organisation", |p| led_by(p, "/org_id", &["a"]), "ok"),
    ("an empty one", |p| led_by(p, "/org_id", &["a", ""]), "organisations[1]: is empty"),
    ("one that stands nowhere", |p| led_by(p, "", &["a"]), "organisations: is of no use without"),
    ("every place", |p| p.claims = Some(places("/x")), "ok"),
    (
        "users without a place",
        |p| p.claims = Some(ClaimMapping { user: bad(), ..places("/x") }),
        "claims.user: ",
    ),
    ("groups", |p| p.claims = Some(ClaimMapping { groups: bad(), ..places("/x") }), "claims.groups: "),
    ("addresses", |p| p.claims = Some(ClaimMapping { email: bad(), ..places("/x") }), "claims.email: "),
    ("roles", |p| p.claims = Some(ClaimMapping { roles: bad(), ..places("/x") }), "claims.roles: "),
    ("projects", |p| p.claims = Some(ClaimMapping { project: bad(), ..places("/x") }), "claims.project: "),
    (
        "organisations",
        |p| p.claims = Some(ClaimMapping { organisation: bad(), ..places("/x") }),
        "claims.organisation: ",
    ),
    (
        "cost centres",
        |p| p.claims = Some(ClaimMapping { cost_centre: bad(), ..places("/x") }),
        "claims.cost_centre: ",
    ),
    (
        "what goes on",
        |p| p.claims = Some(ClaimMapping { forwarded: vec!["/x".to_owned(), bad()], ..places("/x") }),
        "claims.forwarded[1]: ",
    ),
    ("an id that is none", |p| p.id = "a b".to_owned(), "id: "),
    ("a tenant that nobody is", |p| p.tenant = "initech".to_owned(), "tenant: there is no tenant"),
];

fn long_url(bytes: usize) -> String {
    let host = "https://login.example/";
    format!("{host}{}", "a".repeat(bytes - host.len()))
}

fn kept(provider: &mut IdentityProvider, bytes: usize) {
    provider.key_source = v1::KeySource::ControlPlane.into();
    provider.jwks_url = long_url(bytes);
}

fn claim(path: &str) -> RequiredClaim {
    RequiredClaim { claim: path.to_owned(), ..RequiredClaim::default() }
}

/// No place in a token.
fn bad() -> String {
    "x".to_owned()
}

fn places(path: &str) -> ClaimMapping {
    let place = || path.to_owned();
    ClaimMapping {
        user: place(),
        groups: place(),
        project: place(),
        forwarded: vec![place()],
        email: place(),
        roles: place(),
        organisation: place(),
        cost_centre: place(),
    }
}

fn led_by(provider: &mut IdentityProvider, place: &str, organisations: &[&str]) {
    provider.organisations = organisations.iter().map(|&text| text.to_owned()).collect();
    provider.claims = Some(ClaimMapping { organisation: place.to_owned(), ..ClaimMapping::default() });
}

#[test]
fn whatever_is_wrong_with_a_provider_refuses_the_bundle_and_says_where() {
    for (name, edit, expected) in CASES {
        let mut provider = provider("idp", "acme");
        edit(&mut provider);
        let verdict = verdict(vec![provider], Vec::new());
        let expected =
            if *expected == "ok" { "ok".to_owned() } else { format!("identity_providers[0].{expected}") };
        assert!(verdict.starts_with(&expected), "{name}: {verdict}");
    }
}

/// Acme's provider and Globex's, after the edit.
type Both = fn(&mut IdentityProvider, &mut IdentityProvider);

fn by_organisation(acme: &mut IdentityProvider, globex: &mut IdentityProvider) {
    led_by(acme, "/org_id", &["a", "b"]);
    led_by(globex, "/org_id", &["g"]);
}

const PAIRS: &[(&str, Both, &str)] = &[
    ("nothing that tells them apart", |_, _| {}, "audiences: \"api\" of this issuer is already taken"),
    ("another audience", |_, g| g.audiences = texts(["other"]), "ok"),
    ("another issuer", |_, g| g.issuer = "https://other.example".to_owned(), "ok"),
    ("the issuer with a final slash", |_, g| g.issuer.push('/'), "audiences: "),
    ("one audience of several", |_, g| g.audiences = texts(["other", "api"]), "audiences: \"api\""),
    ("an organisation each", by_organisation, "ok"),
    ("an organisation of the second alone", |_, g| led_by(g, "/org_id", &["g"]), "audiences: "),
    ("of the first alone", |a, _| led_by(a, "/org_id", &["a"]), "audiences: "),
    (
        "the same organisation",
        |a, g| {
            by_organisation(a, g);
            g.organisations.push("b".to_owned());
        },
        "organisations: \"b\" of this issuer and audience is already taken by identity_providers[0]",
    ),
    (
        "the same organisation for another audience",
        |a, g| {
            by_organisation(a, g);
            g.organisations.push("b".to_owned());
            g.audiences = texts(["other"]);
        },
        "ok",
    ),
    (
        "organisations that stand at two places",
        |a, g| {
            by_organisation(a, g);
            led_by(g, "/tid", &["g"]);
        },
        "claims.organisation: and audience_claim must be those of identity_providers[0]",
    ),
    (
        "audiences that stand at two places",
        |a, g| {
            by_organisation(a, g);
            g.audience_claim = "/client_id".to_owned();
        },
        "claims.organisation: and audience_claim must be those of identity_providers[0]",
    ),
    ("the same id, of another tenant", |a, g| (g.id, g.audiences) = (a.id.clone(), texts(["other"])), "ok"),
    (
        "the same id of the same tenant",
        |a, g| *g = IdentityProvider { audiences: texts(["other"]), ..a.clone() },
        "id: \"first\" is taken by identity_providers[0]",
    ),
];

#[test]
fn an_issuer_and_an_audience_lead_to_one_tenant_or_the_bundle_is_refused() {
    for (name, edit, expected) in PAIRS {
        let (mut acme, mut globex) = (provider("first", "acme"), provider("second", "globex"));
        edit(&mut acme, &mut globex);
        let verdict = verdict(vec![acme, globex], Vec::new());
        let expected =
            if *expected == "ok" { "ok".to_owned() } else { format!("identity_providers[1].{expected}") };
        assert!(verdict.starts_with(&expected), "{name}: {verdict}");
    }
}
