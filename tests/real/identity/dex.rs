//! dex, with one person whose password it knows.

use super::{
    browser::{EMAIL, USER},
    process::{Process, installed},
    provider::{Kind, Provider, TERMINAL},
};
use attach_tests::free_port;
use std::{process::Command, time::Duration};

/// Longer than a sign-in here takes, and short enough to be waited for.
const KEYS_LIVE: Duration = Duration::from_secs(20);

/// Of the password in `browser.rs`, by bcrypt at the least cost that dex takes.
const HASH: &str = "$2b$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu";

pub(super) async fn start() -> Option<Provider> {
    let home = installed("dex")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let issuer = format!("http://127.0.0.1:{port}/dex");
    let config = format!(
        r#"issuer: {issuer}
storage: {{type: memory}}
web: {{http: "127.0.0.1:{port}"}}
frontend: {{dir: "{web}"}}
logger: {{level: warn}}
expiry: {{signingKeys: {keys}s, idTokens: 5m}}
oauth2: {{skipApprovalScreen: true}}
enablePasswordDB: true
staticPasswords:
  - {{email: "{EMAIL}", username: "{USER}", userID: "1", hash: "{HASH}"}}
staticClients:
  - {{id: {TERMINAL}, name: Terminal, public: true}}
"#,
        web = home.join("web").display(),
        keys = KEYS_LIVE.as_secs(),
    );
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, config).expect("our own folder");
    let mut command = Command::new(home.join("dex"));
    command.arg("serve").arg(path);
    let process = Process::start(command, folder.path(), port, "/dex/healthz").await;
    Some(Provider { kind: Kind::Dex, issuer, port, admin_port: port, process, folder })
}

/// It does so by itself, and nobody can ask it to.
pub(super) async fn rotate() {
    tokio::time::sleep(KEYS_LIVE + Duration::from_secs(5)).await;
}
