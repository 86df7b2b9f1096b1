//! npm's certified `oidc-provider`.

use super::{
    process::{Process, installed},
    provider::{Kind, Provider},
};
use attach_tests::{Client, free_port};
use std::{path::Path, process::Command};

pub(super) async fn start() -> Option<Provider> {
    let modules = installed("oidc-provider")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("real/identity/oidc_provider.mjs"));
    command.arg(port.to_string()).arg(modules);
    let process = Process::start(command, folder.path(), port, "/.well-known/openid-configuration").await;
    let issuer = format!("http://127.0.0.1:{port}");
    Some(Provider { kind: Kind::OidcProvider, issuer, port, admin_port: port, process, folder })
}

pub(super) async fn rotate(provider: &Provider) {
    let answer = Client::new(provider.admin_port).post_raw("/rotate", "").await;
    assert_eq!(answer.status, 200);
}
