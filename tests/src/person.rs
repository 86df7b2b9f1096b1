//! Somebody at a terminal: runs `attach-gateway token` and `connect`, reads what they say, and opens what they show.

use crate::{gateway::binary, provider};
use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// Longer than anything that a test waits for on purpose.
const PATIENCE: Duration = Duration::from_secs(60);

/// With a home of its own.
#[derive(Debug)]
pub struct Person {
    home: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A command that runs; killed when it is dropped.
pub struct Running {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    heard: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Default for Person {
    fn default() -> Self {
        Self::new()
    }
}

impl Person {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder"), environment: Vec::new() }
    }

    /// Who signs in at this provider, for the audience of the tests.
    pub fn at(provider: &provider::Provider) -> Self {
        Self::new()
            .with("OIDC_ISSUER", &provider.url())
            .with("OIDC_CLIENT_ID", provider::CLIENT_ID)
            .with("OIDC_AUD", crate::issuer::AUDIENCE)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where tokens are kept.
    pub fn tokens(&self) -> PathBuf {
        self.home.path().join(".cache/attach-gateway/tokens")
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).expect("a file in our own folder");
        path.display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env_clear().current_dir(self.home.path()).env("HOME", self.home.path());
        // Nobody has a browser here: the tests open what is shown.
        command.env("BROWSER", "/nonexistent/browser");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let output = tokio::time::timeout(PATIENCE, self.command(arguments).output()).await;
        ended(output.expect("it ends in time").expect("the binary runs"))
    }

    /// The token that it prints.
    pub async fn token(&self, arguments: &[&str]) -> String {
        self.run(&[&["token"], arguments].concat()).await.token()
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let said = BufReader::new(child.stderr.take().expect("piped")).lines();
        Running { child, said, heard: String::new() }
    }

    /// `connect`, until it listens: with its port.
    pub async fn connect(&self, gateway: &str, arguments: &[&str]) -> (Running, u16) {
        let port = crate::free_port();
        let listen = format!("127.0.0.1:{port}");
        let mut running = self.start(&[&["connect", gateway, "--listen", &listen], arguments].concat());
        running.line_with("Requests to").await;
        (running, port)
    }
}

impl Running {
    /// The next line on standard error that has this in it.
    pub async fn line_with(&mut self, wanted: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.said.next_line()).await.expect("a line in time");
            let Some(line) = line.expect("UTF-8") else {
                panic!("ended without {wanted:?}:\n{}", self.heard)
            };
            self.heard += &line;
            self.heard.push('\n');
            if line.contains(wanted) {
                return line;
            }
        }
    }

    /// The address that the person is to open.
    pub async fn address(&mut self) -> String {
        self.line_with("http").await
    }

    pub async fn end(mut self) -> Ended {
        while let Ok(Some(line)) =
            tokio::time::timeout(PATIENCE, self.said.next_line()).await.expect("in time")
        {
            self.heard += &line;
            self.heard.push('\n');
        }
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let ended = ended(output.expect("it ends in time").expect("our own child"));
        Ended { stderr: self.heard, ..ended }
    }
}

impl Ended {
    /// Standard output has one line, and it is the token.
    pub fn token(&self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        let token = self.stdout.strip_suffix('\n').expect("a line");
        assert!(!token.is_empty() && !token.contains(char::is_whitespace), "{:?}", self.stdout);
        token.to_owned()
    }
}

fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
