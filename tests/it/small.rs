//! The static binary needs nothing but itself.

#![expect(clippy::expect_used, reason = "what helps a test fails it by panicking")]

use attach_tests::{Client, Engine, Issuer, engine::samples, eventually, free_port, issuer};
use serde_json::{Value, json};
use std::{
    env::consts::ARCH,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A root file system with the binary in it and nothing else: no `/etc`, no `/tmp`, no `/dev`, no `/proc`.
struct EmptyRoot {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

struct Running {
    child: Child,
    port: u16,
    admin_port: u16,
}

impl EmptyRoot {
    fn new(environment: Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::copy(static_binary(), folder.path().join("attach-gateway")).expect("room for the binary");
        Self { folder, environment }
    }

    /// `None` where neither a user namespace nor root lets us change the root.
    fn command(&self) -> Option<Command> {
        let works = |program: &str, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).arg("true").stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let mut command;
        if works("unshare", &["--user", "--map-root-user"]) {
            command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--wd=/", "--root"]).arg(self.folder.path());
        } else if works("chroot", &["/"]) {
            command = Command::new("chroot");
            command.arg(self.folder.path());
        } else {
            return None;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.arg("/attach-gateway").env_clear().env("PATH", path).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        Some(command)
    }

    async fn start(&self) -> Option<Running> {
        let (port, admin_port) = (free_port(), free_port());
        let mut command = self.command()?;
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--admin-port",
            &admin_port.to_string(),
        ]);
        let mut running = Running { child: command.spawn().expect("it runs"), port, admin_port };
        eventually("the gateway listens", Duration::from_secs(20), async || {
            let ended = running.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "it ended at its start: {ended:?}");
            Client::new(admin_port).try_send(http::Method::GET, "/livez", "").await.ok()
        })
        .await;
        Some(running)
    }

    fn events(&self) -> Vec<Value> {
        let mut command = self.command().expect("it was started");
        let output = command.args(["usage", "--events", "--json"]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Built without link-time optimization, which takes minutes and changes nothing of what is tested.
fn static_binary() -> PathBuf {
    let target = format!("{ARCH}-unknown-linux-musl");
    let folder = attach_tests::gateway::binary();
    let folder = folder.ancestors().nth(2).expect("in a target folder");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--locked",
            "--quiet",
            "--release",
            "--package",
            "attach-gateway",
            "--target",
            &target,
        ])
        .arg("--target-dir")
        .arg(folder)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .envs([
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "none"),
        ])
        .status()
        .expect("cargo runs");
    assert!(status.success(), "needs musl-gcc (apt: musl-tools) and `rustup target add {target}`");
    folder.join(target).join("release/attach-gateway")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the gateway once more, which takes minutes; tests/run all"]
async fn the_static_binary_serves_and_records_on_an_empty_root_file_system() {
    const KEY: &str = "sk-test-0123456789";
    let engine = Engine::start(samples::openai_chat(9, 4)).await;
    let issuer = Issuer::start().await;
    issuer.call_itself(&format!("http://localhost:{}", issuer.port));
    let body = json!({"model": "tiny", "messages": []});

    let by_key = EmptyRoot::new(vec![("KEYS_FILE", "/keys.json".to_owned()), ("ENGINE_URL", engine.url())]);
    let keys = json!({"keys": [KEY]}).to_string();
    std::fs::write(by_key.folder.path().join("keys.json"), keys).expect("our own folder");
    // With names in place of addresses, and nothing there that resolves names.
    let by_token = EmptyRoot::new(vec![
        ("OIDC_ISSUER", issuer.url()),
        ("OIDC_AUD", issuer::AUDIENCE.to_owned()),
        ("ENGINE_URL", format!("http://localhost:{}", engine.port)),
    ]);
    for (root, credential) in [(by_key, KEY.to_owned()), (by_token, issuer.token("alice"))] {
        let Some(running) = root.start().await else {
            eprintln!("SKIPPED: no user namespaces here and not root, so the root cannot be changed");
            return;
        };
        let answer =
            Client::new(running.port).with_bearer(&credential).post("/v1/chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(root.events().len(), 1);
        let ready = Client::new(running.admin_port).get("/readyz").await;
        assert_eq!(ready.status, 200, "{}", ready.text());
    }
}
