//! Real identity providers: people and services get their token by `attach-gateway token`, and are served with it.
//!
//! Each provider is installed by `tests/real/providers`, started by its module, and asked the same things.

mod browser;
mod dex;
mod hydra;
mod keycloak;
mod oidc_provider;
mod process;
mod provider;

use crate::World;
use attach_tests::{Client, Gateway, Person};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use browser::encoded;
use provider::{Kind, Provider, SERVICE_SECRET, TERMINAL};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    rc::Rc,
    time::{Duration, Instant},
};

/// Between two requests of the steady caller.
const STEADY: Duration = Duration::from_millis(20);

pub(crate) async fn keycloak_gives_tokens_that_are_served_and_others_that_are_not(world: Rc<World>) {
    let Some(provider) = started(&world, Kind::Keycloak).await else { return };
    let gateway = all_are_asked_the_same(&world, &provider).await;

    // It has no audience, whatever the client's mapper says.
    let service = provider.person().with("OIDC_CLIENT_ID", keycloak::LIGHTWEIGHT);
    let secret = service.file("secret", SERVICE_SECRET);
    let lightweight = service.token(&["--client-secret-file", &secret]).await;
    assert_eq!(part(&lightweight, 1)["aud"], Value::Null);
    assert_eq!(asked(&gateway, &lightweight).await, 401, "a lightweight token");
}

pub(crate) async fn oidc_provider_gives_tokens_that_are_served_and_others_that_are_not(world: Rc<World>) {
    let Some(provider) = started(&world, Kind::OidcProvider).await else { return };
    all_are_asked_the_same(&world, &provider).await;
}

pub(crate) async fn hydra_gives_tokens_that_are_served_and_others_that_are_not(world: Rc<World>) {
    let Some(provider) = started(&world, Kind::Hydra).await else { return };
    let gateway = all_are_asked_the_same(&world, &provider).await;

    // Whoever asks for no audience gets an empty list of them.
    let (service, secret) = provider.service();
    let service = service.with("OIDC_AUD", "");
    let for_nobody = service.token(&["--client-secret-file", &secret]).await;
    assert_eq!(part(&for_nobody, 1)["aud"], json!([]));
    assert_eq!(asked(&gateway, &for_nobody).await, 401, "a token for nobody");
}

pub(crate) async fn dex_gives_tokens_that_are_served_and_others_that_are_not(world: Rc<World>) {
    let Some(provider) = started(&world, Kind::Dex).await else { return };
    all_are_asked_the_same(&world, &provider).await;
}

async fn started(world: &World, kind: Kind) -> Option<Provider> {
    let began = Instant::now();
    let provider = Provider::start(kind).await;
    match &provider {
        Some(_) => world.note(format!("{kind:?} is up after {:.1} s", began.elapsed().as_secs_f64())),
        None => world.note(format!("SKIPPED {kind:?}: it cannot be had here; the reason is above")),
    }
    provider
}

/// Every way to a token that the provider has ends with a served request, what is no access token is refused, and another
/// key is no matter.
async fn all_are_asked_the_same(world: &World, provider: &Provider) -> Gateway {
    let gateway = provider.gateway().with("ENGINE_URL", world.ollama.url()).start().await;
    let alice = provider.person();
    if provider.has_device_flow() {
        let token = by_device(provider, &alice).await;
        assert_served(&gateway, &token, "by device").await;
    }
    let alice = provider.person();
    let token = by_browser(provider, &alice).await;
    assert_served(&gateway, &token, "by browser").await;
    describe(world, provider, "access token of a person", &token);
    if provider.has_services() {
        let (service, secret) = provider.service();
        let token = service.token(&["--client-secret-file", &secret]).await;
        assert_served(&gateway, &token, "by secret").await;
        describe(world, provider, "access token of a service", &token);
    }
    another_key_is_no_matter(world, provider, &gateway, &alice).await;
    nothing_but_access_tokens_is_served(world, provider, &gateway, &alice).await;
    gateway
}

async fn by_device(provider: &Provider, alice: &Person) -> String {
    let mut running = alice.start(&["token", "--device"]);
    let line = running.line_with("or open ").await;
    provider.sign_in(line.strip_prefix("or open ").expect("the whole line")).await;
    running.end().await.token()
}

async fn by_browser(provider: &Provider, alice: &Person) -> String {
    // dex lets a browser come back to any port of `localhost`, by that name alone.
    let redirect: &[&str] = match provider.kind {
        Kind::Dex => &["--redirect-uri", "http://localhost:0/callback"],
        Kind::Keycloak | Kind::OidcProvider | Kind::Hydra => &[],
    };
    let mut running = alice.start(&[&["token", "--browser"], redirect].concat());
    let address = running.address().await;
    provider.sign_in(&address).await;
    running.end().await.token()
}

async fn assert_served(gateway: &Gateway, token: &str, how: &str) {
    let body = json!({"model": "tiny", "stream": false, "prompt": "x", "options": {"num_predict": 1}});
    let answer = gateway.client().with_bearer(token).post("/api/generate", &body).await;
    assert_eq!(answer.status, 200, "{how}: {}\n{:#}\n{:#}", answer.text(), part(token, 0), part(token, 1));
}

/// The status of a request with this credential.
async fn asked(gateway: &Gateway, credential: &str) -> u16 {
    gateway.client().with_bearer(credential).get("/api/tags").await.status.as_u16()
}

async fn nothing_but_access_tokens_is_served(
    world: &World,
    provider: &Provider,
    gateway: &Gateway,
    alice: &Person,
) {
    let refresh_token = kept(alice)["refresh_token"].as_str().expect("one was asked for").to_owned();
    assert_eq!(asked(gateway, &refresh_token).await, 401, "a refresh token");
    let form = encoded(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh_token),
        ("client_id", TERMINAL),
    ]);
    let answer = form_client(provider).post_raw(provider.token_path(), form).await.json();
    let id_token = answer["id_token"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
    describe(world, provider, "ID token of a refresh", id_token);
    assert_eq!(part(id_token, 1)["aud"].as_str().or(part(id_token, 1)["aud"][0].as_str()), Some(TERMINAL));
    let expected = if provider.has_access_tokens() { 401 } else { 200 };
    assert_eq!(asked(gateway, id_token).await, expected, "an ID token of a refresh");
    let id_token = id_token_of_sign_in(provider).await;
    describe(world, provider, "ID token of a sign-in", &id_token);
    assert_eq!(asked(gateway, &id_token).await, 401, "an ID token of a sign-in");
    if let Some(rotated) = answer["refresh_token"].as_str() {
        assert_eq!(asked(gateway, rotated).await, 401, "a refresh token");
    }
}

/// The pair of RFC 7636, appendix B.
const CODE_VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CODE_CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Signs in without `attach-gateway token`, which shows nobody an ID token.
async fn id_token_of_sign_in(provider: &Provider) -> String {
    let grant =
        if provider.has_device_flow() { device_grant(provider).await } else { code_grant(provider).await };
    let answer = form_client(provider).post_raw(provider.token_path(), grant).await.json();
    answer["id_token"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned()
}

fn form_client(provider: &Provider) -> Client {
    Client::new(provider.port).with_header("content-type", "application/x-www-form-urlencoded")
}

/// As a device would (RFC 8628).
async fn device_grant(provider: &Provider) -> String {
    let form = encoded(&[
        ("client_id", TERMINAL),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
        ("code_challenge", CODE_CHALLENGE),
    ]);
    let device = form_client(provider).post_raw(provider.device_path(), form).await.json();
    let text = |name: &str| device[name].as_str().unwrap_or_else(|| panic!("{name}: {device:#}")).to_owned();
    provider.sign_in(&text("verification_uri_complete")).await;
    encoded(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", &text("device_code")),
        ("code_verifier", CODE_VERIFIER),
        ("client_id", TERMINAL),
    ])
}

/// As an application would (RFC 6749 section 4.1, RFC 7636).
async fn code_grant(provider: &Provider) -> String {
    let query = encoded(&[
        ("response_type", "code"),
        ("client_id", TERMINAL),
        ("redirect_uri", hydra::CALLBACK),
        ("scope", "openid"),
        ("state", "of-this-test-alone"),
        ("code_challenge_method", "S256"),
        ("code_challenge", CODE_CHALLENGE),
    ]);
    let code = hydra::code_of_sign_in(provider, &query).await;
    encoded(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", hydra::CALLBACK),
        ("code_verifier", CODE_VERIFIER),
        ("client_id", TERMINAL),
    ])
}

/// A caller goes on and on while the provider takes another key, and somebody comes with a token that it has signed.
async fn another_key_is_no_matter(world: &World, provider: &Provider, gateway: &Gateway, alice: &Person) {
    let before = alice.token(&[]).await;
    let is_over = Rc::new(Cell::new(false));
    let steady = tokio::task::spawn_local({
        let (is_over, client) = (Rc::clone(&is_over), gateway.client().with_bearer(&before));
        async move {
            let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
            while !is_over.get() {
                let status = client.get("/api/tags").await.status.as_u16();
                *statuses.entry(status).or_default() += 1;
                tokio::time::sleep(STEADY).await;
            }
            statuses
        }
    });
    provider.rotate().await;
    // Whoever comes for the first time; what a session goes on with is the provider's affair.
    let after = if provider.has_services() {
        let (service, secret) = provider.service();
        service.token(&["--client-secret-file", &secret]).await
    } else {
        alice.token(&["--fresh"]).await
    };
    assert_ne!(part(&before, 0)["kid"], part(&after, 0)["kid"], "it signs with another key");
    assert_served(gateway, &after, "with another key").await;
    assert_eq!(asked(gateway, &before).await, 200, "the key before is in the set still");
    is_over.set(true);
    let statuses = steady.await.expect("it ends");
    world.note(format!(
        "{:?}: another key under a steady caller, answers by status {statuses:?}",
        provider.kind
    ));
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
}

fn kept(person: &Person) -> Value {
    let mut paths =
        fs::read_dir(person.tokens()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let file = paths.find(|path| path.extension().is_some_and(|name| name == "json")).expect("a token");
    serde_json::from_slice(&fs::read(file).expect("our own")).expect("JSON")
}

/// Header (0) or claims (1) of a JWT.
fn part(token: &str, which: usize) -> Value {
    let Some(part) = token.split('.').nth(which) else { return Value::Null };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).unwrap_or(Value::Null)
}

/// What policy goes by, for the report.
fn describe(world: &World, provider: &Provider, what: &str, token: &str) {
    let (header, claims) = (part(token, 0), part(token, 1));
    let names: Vec<_> = claims.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    world.note(format!(
        "{:?}, {what}: header typ {}, claim typ {}, aud {}, claims {}",
        provider.kind,
        header["typ"],
        claims["typ"],
        claims["aud"],
        names.join(" ")
    ));
}
