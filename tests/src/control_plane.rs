//! A control plane, as a process of the real binary on a database of its own.

use crate::{Answer, Client, Postgres, TestDatabase, eventually, free_port};
use http::Method;
use serde_json::Value;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

/// A start makes keys and waits for the database; a busy machine may need seconds.
const START: Duration = Duration::from_secs(20);

/// One server for all tests of this process, a database for each; it ends with the process.
static POSTGRES: LazyLock<Option<Postgres>> = LazyLock::new(Postgres::start);

/// Killed when it is dropped.
pub struct ControlPlane {
    pub database: TestDatabase,
    /// Where people reach it: the console and the REST API.
    pub port: u16,
    /// Where gateways reach it.
    pub agents_port: u16,
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

/// Another one on the same database; killed when it is dropped.
pub struct Beside(Child);

impl ControlPlane {
    /// With an empty database. `None`, said loudly, where there is no Postgres.
    pub async fn start() -> Option<Self> {
        Some(Self::on(POSTGRES.as_ref()?).await)
    }

    /// The same, with settings of its own.
    pub async fn start_with(settings: &[(&str, &str)]) -> Option<Self> {
        Some(Self::on_with(POSTGRES.as_ref()?, settings).await)
    }

    /// On a database of this server.
    pub async fn on(postgres: &Postgres) -> Self {
        Self::on_with(postgres, &[]).await
    }

    async fn on_with(postgres: &Postgres, settings: &[(&str, &str)]) -> Self {
        let database = postgres.database();
        let migrated = command(&database)
            .arg("migrate")
            .env("DATABASE_OWNER_URL", &database.owner_url)
            .output()
            .expect("the control plane runs");
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = settings.collect();
        let (port, agents_port) = (free_port(), free_port());
        let mut plane = Self { database, port, agents_port, folder, settings, child: None };
        plane.run().await;
        plane
    }

    /// Starts it again on the same ports.
    pub async fn run(&mut self) {
        let log =
            File::options().create(true).append(true).open(self.folder.path().join("control-plane.log"));
        let log = log.expect("a file in our own folder");
        let mut command = command(&self.database);
        command
            .arg("serve")
            .env("ATTACH_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("ATTACH_OPERATOR_TOKEN_FILE", self.token_file())
            .env("ATTACH_GRPC_LISTEN", format!("127.0.0.1:{}", self.agents_port))
            .env("ATTACH_SEAL_KEY_FILE", self.seal_keys())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log);
        self.child = Some(command.spawn().expect("the control plane runs"));
        eventually("the control plane listens", START, async || {
            if let Ok(Some(status)) = self.child.as_mut()?.try_wait() {
                panic!("the control plane ended at its start ({status}):\n{}", self.log());
            }
            // A port is open before all is ready behind it.
            let ready = Client::new(self.port).try_send(Method::GET, "/readyz", "").await.ok()?;
            (ready.status == 200).then_some(())
        })
        .await;
    }

    /// Another one on the same database, with the same settings and ports of its own.
    pub async fn beside(&self) -> Beside {
        let port = free_port();
        let mut command = command(&self.database);
        command.arg("serve").env("ATTACH_LISTEN", format!("127.0.0.1:{port}"));
        command.env("ATTACH_GRPC_LISTEN", "127.0.0.1:0").env("ATTACH_SEAL_KEY_FILE", self.seal_keys());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let beside = Beside(child.expect("the control plane runs"));
        eventually("the other control plane listens", START, async || {
            let ready = Client::new(port).try_send(Method::GET, "/readyz", "").await.ok()?;
            (ready.status == 200).then_some(())
        })
        .await;
        beside
    }

    /// Another one on the same database, for starts that must fail, with settings of its own: exit code and standard error.
    pub fn another(&self, settings: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = command(&self.database);
        command.arg("serve").env("ATTACH_LISTEN", "127.0.0.1:0").env("ATTACH_GRPC_LISTEN", "127.0.0.1:0");
        command.env("ATTACH_SEAL_KEY_FILE", self.seal_keys()).envs(settings.iter().copied());
        let output = command.output().expect("the control plane runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The REST API, called by the operator.
    pub fn api(&self) -> Client {
        Client::new(self.port).with_bearer(&self.operator_token())
    }

    pub fn operator_token(&self) -> String {
        let token = std::fs::read_to_string(self.token_file()).expect("its first start made one");
        token.trim().to_owned()
    }

    /// A call that must succeed: its answer.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let client = self.api().with_header("content-type", "application/json");
        let answer: Answer = client.send(method.clone(), &format!("/api/v1{path}"), body).await.whole().await;
        assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.text());
        if answer.text().is_empty() { Value::Null } else { answer.json() }
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Where a gateway joins: `TOKEN@URL`. Each is good once.
    pub fn join_line(&self, pool: &str) -> String {
        let made = command(&self.database)
            .args(["join-token", "--pool", pool])
            .env("ATTACH_SEAL_KEY_FILE", self.seal_keys())
            .env("ATTACH_GRPC_URL", format!("https://127.0.0.1:{}", self.agents_port))
            .output()
            .expect("the control plane runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let line = String::from_utf8_lossy(&made.stdout);
        line.trim().strip_prefix("attach-gateway join ").expect("the line to paste").to_owned()
    }

    /// The console, as somebody sees it who has signed in with a link of the operator's.
    pub async fn console(&self) -> Client {
        let made = command(&self.database)
            .arg("sign-in-link")
            .env("ATTACH_PUBLIC_URL", format!("http://127.0.0.1:{}", self.port))
            .output()
            .expect("the control plane runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let line = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let (_, link) = line.rsplit_once("/sign-in/").expect("a link");
        let client = Client::new(self.port).with_header("content-type", "application/x-www-form-urlencoded");
        let answer = client.post_raw("/sign-in", format!("link={link}")).await;
        let cookie = answer.header("set-cookie").expect("the link signs in");
        client.with_header("cookie", cookie.split(';').next().unwrap_or_default())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("control-plane.log")).unwrap_or_default()
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("operator-token")
    }

    fn seal_keys(&self) -> PathBuf {
        self.folder.path().join("seal-keys")
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the control plane ---\n{}", self.log());
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(database: &TestDatabase) -> Command {
    let gateway = crate::gateway::binary();
    let path: &Path = &gateway.with_file_name("attach-control-plane");
    assert!(path.exists(), "{} is missing: run ./tests/run, or `cargo build` first", path.display());
    let mut command = Command::new(path);
    command.env_clear().env("DATABASE_URL", &database.serving_url);
    command
}
