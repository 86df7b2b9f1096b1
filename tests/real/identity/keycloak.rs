//! Keycloak, with a realm of its own.

use super::{
    browser::{EMAIL, PASSWORD, USER, encoded},
    process::{Process, installed},
    provider::{Kind, Provider, SERVICE, SERVICE_SECRET, TERMINAL},
};
use attach_tests::{Client, free_port};
use serde_json::{Value, json};
use std::process::Command;

/// A service whose access tokens name no audience.
pub(crate) const LIGHTWEIGHT: &str = "lightweight";

pub(super) async fn start() -> Option<Provider> {
    let home = installed("keycloak")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (port, management) = (free_port(), free_port());
    let mut command = Command::new("bash");
    command.arg(home.join("bin/kc.sh")).args([
        "start-dev",
        "--http-host=127.0.0.1",
        &format!("--http-port={port}"),
        &format!("--http-management-port={management}"),
        "--health-enabled=true",
    ]);
    for (name, value) in [
        ("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"),
        ("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin"),
        ("KC_CACHE", "local"),
        ("KC_DB", "dev-mem"),
        // Else the issuer is whatever Host a request names.
        ("KC_HOSTNAME", &format!("http://127.0.0.1:{port}")),
        ("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m"),
        // It lives for a minute: what the second compiler would gain never comes back.
        ("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1"),
    ] {
        command.env(name, value);
    }
    let process = Process::start(command, folder.path(), management, "/health/ready").await;
    let issuer = format!("http://127.0.0.1:{port}/realms/acme");
    let provider = Provider { kind: Kind::Keycloak, issuer, port, admin_port: port, process, folder };
    let made = admin(&provider).await.post("/admin/realms", &realm()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    Some(provider)
}

async fn admin(provider: &Provider) -> Client {
    let form = encoded(&[
        ("grant_type", "password"),
        ("client_id", "admin-cli"),
        ("username", "admin"),
        ("password", "admin"),
    ]);
    let client = Client::new(provider.port).with_header("content-type", "application/x-www-form-urlencoded");
    let answer = client.post_raw("/realms/master/protocol/openid-connect/token", form).await;
    let token =
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
    Client::new(provider.port).with_bearer(&token).with_header("content-type", "application/json")
}

fn realm() -> Value {
    let audience = json!([{
        "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": TERMINAL, "access.token.claim": "true"},
    }]);
    let service = |id: &str| {
        json!({
            "clientId": id, "secret": SERVICE_SECRET, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
            "protocolMappers": audience,
        })
    };
    let mut lightweight = service(LIGHTWEIGHT);
    lightweight["attributes"] = json!({"client.use.lightweight.access.token.enabled": "true"});
    json!({
        "realm": "acme", "enabled": true, "sslRequired": "none",
        "clients": [
            {
                "clientId": TERMINAL, "publicClient": true, "standardFlowEnabled": true,
                "redirectUris": ["http://127.0.0.1/callback"], "protocolMappers": audience,
                "attributes": {
                    "oauth2.device.authorization.grant.enabled": "true", "pkce.code.challenge.method": "S256",
                },
            },
            service(SERVICE),
            lightweight,
        ],
        "users": [{
            "username": USER, "enabled": true, "email": EMAIL, "emailVerified": true,
            "firstName": "Alice", "lastName": "Example", "realmRoles": ["default-roles-acme"],
            "credentials": [{"type": "password", "value": PASSWORD}],
        }],
    })
}

/// A key that comes before the others; they stay in the set.
pub(super) async fn rotate(provider: &Provider) {
    let admin = admin(provider).await;
    let key = json!({
        "name": "another", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
        "config": {"priority": ["1000"], "keySize": ["2048"]},
    });
    let made = admin.post("/admin/realms/acme/components", &key).await;
    assert_eq!(made.status, 201, "{}", made.text());
}
