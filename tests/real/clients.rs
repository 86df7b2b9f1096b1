//! The official Python clients, as programs.

use crate::World;
use attach_tests::Gateway;
use serde_json::Value;
use std::{path::PathBuf, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// What a client was answered, as it saw it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: String,
    pub(crate) request_id: String,
    pub(crate) text: String,
    /// Input and output tokens; `None` where the client did not ask for them.
    pub(crate) counts: Option<(u64, u64)>,
}

/// A client that runs; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn program(world: &World, script: &str) -> Command {
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("real/clients");
    let mut command = Command::new(world.parts.join("venv/bin/python"));
    // No proxy and no key from the environment of the tests.
    command.env_clear().env("PYTHONDONTWRITEBYTECODE", "1").arg(scripts.join(script));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The lines that it printed, each of them JSON.
pub(crate) async fn json_lines(world: &World, script: &str, arguments: &[&str]) -> Vec<Value> {
    let output = program(world, script).args(arguments).output().await.expect("python runs");
    assert!(output.status.success(), "{script}:\n{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
}

/// The requests of one of the `*_calls.py`.
pub(crate) async fn calls(
    world: &World,
    script: &str,
    base_url: &str,
    key: &str,
    prefix: &str,
) -> Vec<Reply> {
    let lines = json_lines(world, script, &[base_url, key, "tiny", prefix]).await;
    lines.iter().map(reply).collect()
}

fn reply(line: &Value) -> Reply {
    let string = |name: &str| line[name].as_str().expect("a string").to_owned();
    Reply {
        kind: string("kind"),
        request_id: string("request_id"),
        text: string("text"),
        counts: line["input"].as_u64().zip(line["output"].as_u64()),
    }
}

impl Running {
    pub(crate) fn long_stream(
        world: &World,
        flavour: &str,
        gateway: &Gateway,
        key: &str,
        request_id: &str,
    ) -> Self {
        let base_url = format!("http://127.0.0.1:{}", gateway.port);
        let mut command = program(world, "long_stream.py");
        command.args([flavour, &base_url, key, "tiny", request_id]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    pub(crate) async fn next_line(&mut self) -> String {
        self.lines.next_line().await.expect("UTF-8").expect("a line before the end")
    }

    pub(crate) async fn pieces(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.next_line().await, "piece");
        }
    }

    /// What it says after its last piece.
    pub(crate) async fn last_line(&mut self) -> String {
        loop {
            let line = self.next_line().await;
            if line != "piece" {
                return line;
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.start_kill().expect("it runs");
    }
}
