//! `deploy/up` that fails half-way, with the programs of these tests in place of those that it builds.

use attach_tests::{free_port, gateway::binary};
use std::{
    fs,
    net::TcpStream,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        // Below it Postgres keeps its data, as another user.
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
        let host = Self { folder };
        fs::create_dir_all(host.programs()).expect("our own folder");
        for name in ["attach-gateway", "attach-control-plane", "attach-demo"] {
            let built = binary().with_file_name(name);
            assert!(
                built.exists(),
                "{} is missing: run ./tests/run, or `cargo build` first",
                built.display()
            );
            symlink(built, host.programs().join(name)).expect("our own folder");
        }
        host.script(&host.folder.path().join("cargo"), "exit 0");
        host
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("target/release")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn script(&self, path: &Path, text: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, format!("#!/bin/sh\n{text}\n")).expect("our own folder");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("our own folder");
        fs::rename(draft, path).expect("our own folder");
    }

    /// From now on this program ends as soon as it is started.
    fn break_program(&self, name: &str) {
        self.script(&self.programs().join(name), "echo broken; exit 1");
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let path = std::env::join_paths(
            std::iter::once(self.folder.path().to_owned())
                .chain(["/usr/bin", "/bin", "/usr/sbin"].map(PathBuf::from)),
        );
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(script));
        command.env_clear().env("HOME", self.folder.path()).env("PATH", path.expect("a path"));
        command.env("CARGO_TARGET_DIR", self.folder.path().join("target"));
        command.arg("--state").arg(self.state()).args(arguments);
        command.output().expect("it runs")
    }

    /// Whether anybody listens where this part was told to.
    fn listens(&self, part: &str) -> bool {
        let port = fs::read_to_string(self.state().join(format!("{part}.port"))).expect("it was started");
        let port = port.split_whitespace().next().and_then(|port| port.parse::<u16>().ok());
        TcpStream::connect(("127.0.0.1", port.expect("a port"))).is_ok()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.run("down", &[]);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_was_started_before_a_step_failed_is_ended_and_named() {
    let host = Host::new();
    host.break_program("attach-control-plane");
    let up = host.run("up", &["--detach", "--port", &free_port().to_string()]);
    let text = said(&up);
    assert_eq!(up.status.code(), Some(1), "{text}");
    assert!(text.contains("the control did not start"), "{text}");
    let ended = text.lines().find_map(|line| line.strip_prefix("deploy/up: ended again: "));
    // On a machine with an Ollama there is no engine among them.
    assert!(
        ended.is_some_and(|ended| ended.ends_with("redis, postgres") && ended.contains("issuer")),
        "{text}"
    );
    assert!(!text.contains("still running"), "{text}");
    for part in ["issuer", "redis", "postgres"] {
        assert!(!host.listens(part), "{part}: {text}");
        assert!(!host.state().join(format!("{part}.pid")).exists(), "{part}");
    }
}

#[test]
fn what_ran_before_goes_on_and_the_way_to_end_it_is_told() {
    let host = Host::new();
    let port = free_port().to_string();
    let arguments = ["--standalone", "--detach", "--port", &port];
    let up = host.run("up", &arguments);
    assert!(up.status.success(), "{}{}", String::from_utf8_lossy(&up.stdout), said(&up));
    assert!(host.listens("issuer") && host.listens("gateway"));

    // Another program, so the gateway is started anew, and is not there any more.
    host.break_program("attach-gateway");
    let up = host.run("up", &arguments);
    let text = said(&up);
    assert_eq!(up.status.code(), Some(1), "{text}");
    let expected = format!("issuer engine; to end it: ./deploy/down --state {}", host.state().display());
    assert!(text.contains("still running, as before: ") && text.contains(&expected), "{text}");
    assert!(host.listens("issuer") && !host.listens("gateway"));
    assert!(!host.state().join("env").exists(), "there is no gateway to be named in it");

    let down = host.run("down", &[]);
    assert!(down.status.success(), "{}", said(&down));
    assert!(!host.listens("issuer"));
}
