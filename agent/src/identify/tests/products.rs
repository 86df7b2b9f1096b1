//! Tokens as the documentation of each product shows them: its access tokens pass with nothing said but issuer and
//! audience, whatever else it signs does not, and each refused one differs from an accepted one in one thing.

use super::{issuer::TestIssuer, mint::TestKey, *};
use attach_proto::{usage::PrincipalKind, v1::IdentityProduct};

/// Makes the claims of a token.
type Claims = fn() -> Value;

/// A change to header and claims.
type Edit = fn(&mut Value, &mut Value);

/// Of one product: the header's type, and the claims of its tokens beside `iss` and the times.
struct Shape {
    product: IdentityProduct,
    typ: Option<&'static str>,
    audience: &'static str,
    user: Claims,
    /// Subject, groups, roles, e-mail and organisation that the user's token stands for.
    is: (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        Option<&'static str>,
        Option<&'static str>,
    ),
    /// Of a client that acts for itself; `None` where the product signs none.
    service: Option<(Claims, &'static str)>,
    /// Changes to the user's token that make another one of it, each with its verdict.
    others: &'static [(&'static str, Edit, &'static str)],
}

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

const SHAPES: &[Shape] = &[
    Shape {
        product: IdentityProduct::Auth0,
        typ: Some("at+jwt"),
        audience: "https://gateway.example",
        user: || {
            json!({"aud": ["https://gateway.example", "https://acme.eu.auth0.com/userinfo"], "sub": "auth0|65f1",
                "azp": "my_client", "scope": "openid profile chat", "permissions": ["chat:run"], "org_id": "org_9yd",
                "https://acme.com/roles": ["admin"], "https://acme.com/groups": ["ops"],
                "https://acme.com/email": "alice@acme.com"})
        },
        is: ("auth0|65f1", &["ops"], &["admin"], Some("alice@acme.com"), Some("org_9yd")),
        service: Some((
            || {
                json!({"aud": "https://gateway.example", "sub": "m2m@clients", "azp": "m2m", "gty": "client-credentials",
                    "scope": "chat"})
            },
            "m2m@clients",
        )),
        others: &[
            ("its plain profile", |h, _| h["typ"] = json!("JWT"), "ok"),
            (
                "an ID token: the client is the audience",
                |_, c| c["aud"] = json!("my_client"),
                "wrong_audience",
            ),
            (
                "an ID token for a client that is the audience",
                |h, c| {
                    h["typ"] = json!("JWT");
                    c["nonce"] = json!("n");
                    remove(c, "scope");
                },
                "not_access_token",
            ),
            ("two namespaces with roles", |_, c| c["https://other.com/roles"] = json!(["root"]), "ok"),
        ],
    },
    Shape {
        product: IdentityProduct::Okta,
        typ: None,
        audience: "api://default",
        user: || {
            json!({"ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "aud": "api://default",
                "cid": "0oabz8f", "uid": "00uzk4", "scp": ["openid", "chat"], "sub": "alice@acme.com", "groups": ["ops"]})
        },
        is: ("alice@acme.com", &["ops"], &[], None, None),
        service: Some((
            || {
                json!({"ver": 1, "jti": "AT.x", "aud": "api://default", "cid": "0oabz8f", "scp": ["chat"],
                    "sub": "0oabz8f"})
            },
            "0oabz8f",
        )),
        others: &[
            ("an ID token: no client of its own", |_, c| remove(c, "cid"), "required_claim"),
            ("an ID token: a hash of the access token", |_, c| c["at_hash"] = json!("x"), "not_access_token"),
        ],
    },
    Shape {
        product: IdentityProduct::EntraId,
        typ: Some("JWT"),
        audience: "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        user: || {
            json!({"aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "aio": "x", "azp": "6e74172b", "azpacr": "0",
                "name": "Alice", "oid": "690222be", "preferred_username": "alice@acme.com", "email": "alice@acme.com",
                "rh": "I", "scp": "access_as_user", "sub": "HKZpfaHyWadeOouYlitjrI", "tid": "72f988bf",
                "groups": ["0ab1"], "roles": ["Chat.User"], "uti": "x", "ver": "2.0"})
        },
        is: ("690222be", &["0ab1"], &["Chat.User"], Some("alice@acme.com"), Some("72f988bf")),
        service: Some((
            || {
                json!({"aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "azp": "b1", "azpacr": "1", "oid": "5c",
                    "sub": "5c", "roles": ["Chat.Run"], "tid": "72f988bf", "ver": "2.0"})
            },
            "5c",
        )),
        others: &[
            ("an ID token: no client", |_, c| remove(c, "azp"), "required_claim"),
            ("an ID token: a hash of the code", |_, c| c["c_hash"] = json!("x"), "not_access_token"),
            ("no object of the user", |_, c| remove(c, "oid"), "user_claim"),
        ],
    },
    Shape {
        product: IdentityProduct::Google,
        typ: Some("JWT"),
        audience: "https://gateway.example",
        user: || {
            json!({"aud": "https://gateway.example", "azp": "10769150350006150715113082367", "sub": "11022",
                "email": "alice@acme.com", "email_verified": true, "hd": "acme.com", "at_hash": "x"})
        },
        is: ("11022", &[], &[], Some("alice@acme.com"), Some("acme.com")),
        // Its subject is a number, and its `azp` the same number.
        service: Some((
            || {
                json!({"aud": "https://gateway.example", "azp": "1042", "sub": "1042", "email_verified": true,
                    "email": "run@project.iam.gserviceaccount.com"})
            },
            "1042",
        )),
        others: &[
            ("for another service", |_, c| c["aud"] = json!("https://other.example"), "wrong_audience"),
            (
                "an access token, which it does not sign",
                |h, _| h["typ"] = json!("at+jwt"),
                "not_access_token",
            ),
        ],
    },
    Shape {
        product: IdentityProduct::Keycloak,
        typ: Some("JWT"),
        audience: "https://gateway.example",
        user: || {
            json!({"aud": ["https://gateway.example", "account"], "sub": "781d", "typ": "Bearer", "azp": "web",
                "acr": "1", "sid": "s", "jti": "onrtro:1", "realm_access": {"roles": ["gateway-admin"]},
                "scope": "email profile", "email": "alice@acme.com", "preferred_username": "alice",
                "groups": ["/ops"], "organization": {"acme": {"id": "1"}}})
        },
        is: ("781d", &["/ops"], &["gateway-admin"], Some("alice@acme.com"), Some("acme")),
        service: Some((
            || {
                json!({"aud": "https://gateway.example", "sub": "9c", "typ": "Bearer", "azp": "svc", "client_id": "svc",
                    "preferred_username": "service-account-svc", "scope": "email profile"})
            },
            "9c",
        )),
        others: &[
            ("with its own header", |h, _| h["typ"] = json!("at+jwt"), "ok"),
            ("of an old version, with the client's nonce", |_, c| c["nonce"] = json!("n"), "ok"),
            ("an ID token", |_, c| c["typ"] = json!("ID"), "not_access_token"),
            ("a refresh token", |_, c| c["typ"] = json!("Refresh"), "not_access_token"),
            ("an offline token", |_, c| c["typ"] = json!("Offline"), "not_access_token"),
            ("a logout token", |_, c| c["typ"] = json!("Logout"), "not_access_token"),
            ("a token that says nothing", |_, c| remove(c, "typ"), "required_claim"),
            ("a token bound to a key", |_, c| c["cnf"] = json!({"jkt": "x"}), "confirmation_unproven"),
            ("a lightweight token without audience", |_, c| remove(c, "aud"), "missing_audience"),
            ("a lightweight token without subject", |_, c| remove(c, "sub"), "user_claim"),
            ("for its own account service alone", |_, c| c["aud"] = json!("account"), "wrong_audience"),
        ],
    },
    Shape {
        product: IdentityProduct::Cognito,
        typ: None,
        audience: "1example23456789",
        user: || {
            json!({"sub": "aaaa-bbbb", "cognito:groups": ["ops"], "token_use": "access", "scope": "aws.cognito.signin.user.admin",
                "auth_time": NOW - 60, "event_id": "e", "jti": "j", "client_id": "1example23456789", "username": "alice",
                "version": 2})
        },
        is: ("aaaa-bbbb", &["ops"], &[], None, None),
        service: Some((
            || {
                json!({"sub": "1example23456789", "token_use": "access", "scope": "gateway/chat",
                    "client_id": "1example23456789", "version": 2})
            },
            "1example23456789",
        )),
        others: &[
            (
                "an ID token",
                |_, c| {
                    c["token_use"] = json!("id");
                    c["aud"] = c["client_id"].take();
                    remove(c, "client_id");
                },
                "missing_audience",
            ),
            ("an ID token that names its client", |_, c| c["token_use"] = json!("id"), "not_access_token"),
            ("a token of another use", |_, c| c["token_use"] = json!("refresh"), "required_claim"),
            ("of another client", |_, c| c["client_id"] = json!("2example"), "wrong_audience"),
        ],
    },
    Shape {
        product: IdentityProduct::Descope,
        typ: Some("JWT"),
        audience: "P2abc",
        user: || {
            json!({"amr": ["email"], "drn": "DS", "rexp": "2027-02-12T16:23:02Z", "aud": ["P2abc"], "sub": "U2xyz",
                "email": "alice@acme.com", "dct": "T1", "tenants": {"T1": {}}, "roles": ["dev"]})
        },
        is: ("U2xyz", &[], &["dev"], Some("alice@acme.com"), Some("T1")),
        service: None,
        others: &[
            ("a refresh token", |_, c| c["drn"] = json!("DSR"), "not_access_token"),
            ("an ID token: a hash", |_, c| c["at_hash"] = json!("x"), "not_access_token"),
        ],
    },
    Shape {
        product: IdentityProduct::Dex,
        typ: None,
        audience: "gw",
        user: || {
            json!({"sub": "Cg0wLTM4NS0yODA4OS0wEgRtb2Nr", "aud": ["gw", "cli"], "azp": "cli", "at_hash": "wGJyq1dXpBzAiZ3yPSQtEw",
                "email": "kilgore@kilgore.trout", "email_verified": true, "groups": ["authors"], "name": "Kilgore Trout"})
        },
        is: ("Cg0wLTM4NS0yODA4OS0wEgRtb2Nr", &["authors"], &[], Some("kilgore@kilgore.trout"), None),
        service: None,
        others: &[
            // What a refresh gives can't be told from these, which are ID tokens themselves.
            ("an ID token: a hash of the code", |_, c| c["c_hash"] = json!("x"), "required_claim"),
            ("for the client alone", |_, c| c["aud"] = json!("cli"), "wrong_audience"),
        ],
    },
    Shape {
        product: IdentityProduct::Authentik,
        typ: Some("JWT"),
        audience: "client-1",
        user: || {
            json!({"sub": "5b1c", "aud": "client-1", "auth_time": NOW - 60, "acr": "goauthentik.io/providers/oauth2/default",
                "email": "alice@acme.com", "email_verified": true, "groups": ["ops"], "azp": "client-1", "uid": "u9",
                "scope": "openid email"})
        },
        is: ("5b1c", &["ops"], &[], Some("alice@acme.com"), None),
        service: None,
        others: &[
            ("an ID token: without what access tokens get", |_, c| remove(c, "uid"), "required_claim"),
            ("an ID token: a hash", |_, c| c["at_hash"] = json!("x"), "not_access_token"),
        ],
    },
];

#[tokio::test]
async fn t20_each_product_s_access_tokens_pass_and_whatever_else_it_signs_does_not() {
    let key = TestKey::rsa("k");
    let issuer = TestIssuer::start(&[&key]).await;
    for shape in SHAPES {
        let wire = v1::IdentityProvider {
            id: "idp".to_owned(),
            tenant: "acme".to_owned(),
            issuer: issuer.url.clone(),
            audiences: vec![shape.audience.to_owned()],
            product: shape.product.into(),
            ..v1::IdentityProvider::default()
        };
        let world = World::new(vec![wire.try_into().unwrap()]);
        world.settled().await;
        let name = shape.product.as_str_name();
        let complete = |mut claims: Value| {
            claims["iss"] = json!(issuer.url);
            claims["iat"] = json!(NOW - 10);
            claims["exp"] = json!(NOW + 300);
            claims
        };
        let mut header = key.header();
        match shape.typ {
            Some(typ) => header["typ"] = json!(typ),
            None => remove(&mut header, "typ"),
        }
        let token =
            |header: &Value, claims: &Value| key.sign(&header.to_string(), &claims.to_string(), "RS256");

        let user = world.bearer(&token(&header, &complete((shape.user)()))).await.expect(name);
        let (subject, groups, roles, email, organisation) = shape.is;
        assert_eq!((user.kind, user.subject.as_str()), (PrincipalKind::User, subject), "{name}");
        assert_eq!((&user.groups[..], &user.roles[..]), (&owned(groups)[..], &owned(roles)[..]), "{name}");
        assert_eq!((user.email.as_deref(), user.organisation.as_deref()), (email, organisation), "{name}");
        if let Some((claims, subject)) = shape.service {
            let service = world.bearer(&token(&header, &complete(claims()))).await.expect(name);
            assert_eq!((service.kind, service.subject.as_str()), (PrincipalKind::Service, subject), "{name}");
        }
        for (what, edit, expected) in shape.others {
            let (mut header, mut claims) = (header.clone(), complete((shape.user)()));
            edit(&mut header, &mut claims);
            assert_eq!(world.verdict(&token(&header, &claims)).await, *expected, "{name}: {what}");
        }
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
