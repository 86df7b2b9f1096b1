//! Ory Hydra. Its pages are somebody else's to make, so the test plays them by the administration's interface.

use super::{
    browser::{Browser, USER},
    process::{Process, installed},
    provider::{Kind, Provider, SERVICE, SERVICE_SECRET, TERMINAL},
};
use attach_tests::{Client, free_port};
use http::Method;
use serde_json::{Value, json};
use std::{cell::RefCell, process::Command, time::Duration};

/// Where its pages would be. Nobody listens there.
const PAGES: &str = "http://127.0.0.1:9";

/// Where it sends a browser that has signed in. Nobody listens there.
pub(super) const CALLBACK: &str = "http://127.0.0.1:9/callback";

pub(super) async fn start() -> Option<Provider> {
    let home = installed("hydra")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (port, admin_port) = (free_port(), free_port());
    let issuer = format!("http://127.0.0.1:{port}/");
    let config = format!(
        "serve:
  public: {{host: 127.0.0.1, port: {port}}}
  admin: {{host: 127.0.0.1, port: {admin_port}}}
urls:
  self: {{issuer: '{issuer}'}}
  login: {PAGES}/login
  consent: {PAGES}/consent
secrets: {{system: [of-a-test-and-nothing-else]}}
strategies: {{access_token: jwt}}
sqa: {{opt_out: true}}
log: {{level: error}}
"
    );
    let path = folder.path().join("hydra.yml");
    std::fs::write(&path, config).expect("our own folder");
    let mut command = Command::new(home.join("hydra"));
    command.args(["serve", "all", "--dev", "--sqa-opt-out", "-c"]).arg(path).env("DSN", "memory");
    let process = Process::start(command, folder.path(), admin_port, "/health/ready").await;
    let provider = Provider { kind: Kind::Hydra, issuer, port, admin_port, process, folder };
    for client in clients() {
        let made = admin(&provider).post("/admin/clients", &client).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    // It makes its keys when they are first asked for, and two that ask at once get two.
    let keys = Client::new(port).get("/.well-known/jwks.json").await;
    assert_eq!(keys.status, 200, "{}", keys.text());
    Some(provider)
}

fn admin(provider: &Provider) -> Client {
    Client::new(provider.admin_port).with_header("content-type", "application/json")
}

fn clients() -> [Value; 2] {
    [
        json!({
            "client_id": TERMINAL, "token_endpoint_auth_method": "none", "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": ["http://127.0.0.1/callback"],
            "scope": "openid offline_access", "audience": [TERMINAL],
        }),
        json!({
            "client_id": SERVICE, "client_secret": SERVICE_SECRET, "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "client_secret_basic", "audience": [TERMINAL],
        }),
    ]
}

/// It signs with the newest, and knows the age of its keys by the second.
pub(super) async fn rotate(provider: &Provider) {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let key = json!({"alg": "RS256", "use": "sig", "kid": "another"});
    let made = admin(provider).post("/admin/keys/hydra.jwt.access-token", &key).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

/// What a browser brings back that goes through the whole sign-in.
pub(super) async fn code_of_sign_in(provider: &Provider, query: &str) -> String {
    let address = format!("http://127.0.0.1:{}/oauth2/auth?{query}", provider.port);
    let code = RefCell::new(None);
    let elsewhere = async |url: &str| {
        let Some(brought) = url.strip_prefix(CALLBACK) else { return instead_of_a_page(provider, url).await };
        let found = brought.trim_start_matches('?').split('&').find_map(|pair| pair.strip_prefix("code="));
        *code.borrow_mut() = found.map(str::to_owned);
        // A page at which the browser may stop.
        Some(format!("http://127.0.0.1:{}/health/ready", provider.admin_port))
    };
    let page = Browser::default().sign_in(&address, elsewhere).await;
    code.take().unwrap_or_else(|| panic!("no code at {}: {}", page.url, page.answer.text()))
}

/// The person signs in, and agrees to all that was asked for; then the browser is sent on.
pub(super) async fn instead_of_a_page(provider: &Provider, url: &str) -> Option<String> {
    let (page, query) = url.strip_prefix(PAGES)?.trim_start_matches('/').split_once('?')?;
    let challenge_name = format!("{page}_challenge");
    let challenge =
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == challenge_name)?.1;
    let request = format!("/admin/oauth2/auth/requests/{page}");
    let query = format!("{page}_challenge={challenge}");
    let answer = match page {
        "login" => json!({"subject": USER}),
        _ => {
            let asked = admin(provider).get(&format!("{request}?{query}")).await.json();
            json!({
                "grant_scope": asked["requested_scope"], "grant_access_token_audience": asked["requested_access_token_audience"],
            })
        }
    };
    let accept = format!("{request}/accept?{query}");
    let accepted = admin(provider).send(Method::PUT, &accept, answer.to_string()).await.whole().await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    Some(accepted.json()["redirect_to"].as_str().expect("a place to go").to_owned())
}
