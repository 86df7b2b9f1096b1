//! A gateway, as a process of the real binary.

use crate::{Client, eventually, free_port};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// A start takes some ten milliseconds; a busy machine may need seconds.
const START: Duration = Duration::from_secs(20);

/// How a gateway is to be started. Its environment has only what is set here.
#[derive(Debug, Clone)]
pub struct Setup {
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    host: String,
    /// What it joins a control plane with, at each start.
    join: Option<String>,
    folder: Arc<tempfile::TempDir>,
    /// The one that was built with these tests, when there is no other.
    binary: Option<PathBuf>,
}

/// Killed when it is dropped.
pub struct Gateway {
    pub port: u16,
    pub admin_port: u16,
    child: Child,
    setup: Setup,
}

/// The binary that was built with these tests.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a file");
    // target/debug/deps/it-… → target/debug/attach-gateway
    let path = test.ancestors().nth(2).expect("in a target folder").join("attach-gateway");
    assert!(path.exists(), "{} is missing: run ./tests/run, or `cargo build` first", path.display());
    path
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    pub fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let host = "127.0.0.1".to_owned();
        Self { environment: Vec::new(), arguments: Vec::new(), host, join: None, folder, binary: None }
    }

    /// `OIDC_ISSUER` and `OIDC_AUD` of this issuer.
    #[must_use]
    pub fn with_issuer(self, issuer: &crate::Issuer) -> Self {
        self.with("OIDC_ISSUER", &issuer.url()).with("OIDC_AUD", crate::issuer::AUDIENCE)
    }

    #[must_use]
    pub fn with_engine(self, engine: &crate::Engine) -> Self {
        self.with("ENGINE_URL", &engine.url())
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn with_argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The address that it listens on, in place of loopback.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Joins a control plane at its first start: `TOKEN@URL`. It is started with the same line again, as a service is.
    #[must_use]
    pub fn with_join(mut self, line: &str) -> Self {
        self.join = Some(line.to_owned());
        self
    }

    /// Starts as who it is.
    #[must_use]
    pub fn without_join(mut self) -> Self {
        self.join = None;
        self
    }

    #[must_use]
    pub fn with_binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }

    /// Writes a file into the working directory of the gateway, and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file in our own folder");
        path
    }

    #[must_use]
    pub fn with_keys(self, keys: &[&str]) -> Self {
        let path = self.file("keys.json", &serde_json::json!({ "keys": keys }).to_string());
        self.with("KEYS_FILE", &path.display().to_string())
    }

    #[must_use]
    pub fn with_bundle(self, yaml: &str) -> Self {
        let path = self.file("bundle.yaml", yaml);
        self.with_argument("--config").with_argument(path.display().to_string())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.binary.clone().unwrap_or_else(binary));
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it on free ports and waits until it takes connections.
    pub async fn start(&self) -> Gateway {
        let mut gateway = self.spawn();
        let admin = gateway.admin();
        eventually("the gateway listens", START, async || {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                panic!("the gateway ended at its start ({status}):\n{}", gateway.log());
            }
            admin.try_send(http::Method::GET, "/livez", "").await.ok()
        })
        .await;
        gateway
    }

    /// Starts it on free ports.
    pub fn spawn(&self) -> Gateway {
        let (port, admin_port) = (free_port(), free_port());
        let log = File::options().create(true).append(true).open(self.folder.path().join("gateway.log"));
        let access_log =
            File::options().create(true).append(true).open(self.folder.path().join("access.log"));
        let mut command = self.command();
        if let Some(line) = &self.join {
            command.arg("join").env("ATTACH_JOIN", line);
        }
        let child = command
            .args([
                "--host",
                &self.host,
                "--port",
                &port.to_string(),
                "--admin-port",
                &admin_port.to_string(),
            ])
            .arg("--state")
            .arg(self.state())
            .args(&self.arguments)
            .stdout(access_log.expect("our own folder"))
            .stderr(log.expect("our own folder"))
            .spawn()
            .expect("the binary runs");
        Gateway { port, admin_port, child, setup: self.clone() }
    }

    /// Runs it to its end: for starts that must fail. Exit code and standard error.
    pub fn run(&self) -> (Option<i32>, String) {
        let mut command = self.command();
        if let Some(line) = &self.join {
            command.arg("join").env("ATTACH_JOIN", line);
        }
        let mut child = command
            .args(["--host", "127.0.0.1", "--state"])
            .arg(self.state())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let deadline = Instant::now() + START;
        while child.try_wait().expect("our own child").is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // What serves after all has no exit code.
        let _ = child.kill();
        let output = child.wait_with_output().expect("our own child");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Gateway {
    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    pub fn admin(&self) -> Client {
        Client::new(self.admin_port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it holds of the machine's memory.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.expect("a line of its memory").trim().trim_end_matches(" kB");
        number.parse().expect("a number")
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.folder().join("gateway.log")).unwrap_or_default()
    }

    pub fn state(&self) -> PathBuf {
        self.setup.state()
    }

    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.setup.folder().join("access.log")).unwrap_or_default()
    }

    /// One of its commands on the same state, as an operator runs it: what it printed.
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = self.setup.command();
        command.args(arguments).arg("--state").arg(self.setup.state());
        command.output().expect("the binary runs")
    }

    /// As well, with this on its standard input.
    pub fn command_with(&self, arguments: &[&str], input: &str) -> std::process::Output {
        let mut command = self.setup.command();
        command.args(arguments).arg("--state").arg(self.setup.state());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A command that ends before it has read all may well be what is tested.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        child.wait_with_output().expect("our own child")
    }

    /// The recorded events, oldest first.
    pub fn events(&self) -> Vec<Value> {
        let output = self.command(&["usage", "--events", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    }

    /// Until there are this many events; then one more look that there are no more.
    pub async fn wait_events(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} events"), Duration::from_secs(10), async || {
            (self.events().len() >= count).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let events = self.events();
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).expect("a pid")), signal).expect("it runs");
    }

    /// SIGKILL, and again with the same settings and state.
    pub async fn restart_after_kill(&mut self) -> Gateway {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.setup.start().await
    }

    /// Its end, when it ends in time by itself.
    pub async fn wait_end(&mut self, patience: Duration) -> ExitStatus {
        eventually("the gateway ended", patience, async || self.child.try_wait().expect("our own child"))
            .await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("--- log of the gateway ---\n{log}");
        }
    }
}

/// What `attach-gateway did …` prints in this folder: a DID or a token, and nothing beside it.
pub fn did(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(binary()).arg("did").args(arguments).current_dir(folder).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = text.strip_suffix('\n').expect("a whole line").to_owned();
    assert!(!line.contains(char::is_whitespace), "nothing but it: {text:?}");
    line
}

/// Quantity of a kind of measure in an event.
pub fn quantity(event: &Value, kind: &str) -> Option<u64> {
    let measures = event["measures"].as_array()?;
    let measure = measures.iter().find(|measure| measure["kind"] == kind)?;
    // proto-JSON writes 64-bit integers as strings.
    measure["quantity"].as_str()?.parse().ok()
}
