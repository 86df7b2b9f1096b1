//! A provider as a process, with whatever children it has.

use attach_tests::Client;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The scripts' own word for what this machine cannot have.
const IMPOSSIBLE: i32 = 3;

/// Keycloak's first start takes two minutes on a busy machine of two cores; the others take seconds.
const START: Duration = Duration::from_secs(300);

/// Ended, with its children, when it is dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// The provider's folder, made if need be; `None` where it cannot be, which has been said.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("real/providers");
    let output = Command::new(script).arg(name).stderr(Stdio::inherit()).output().expect("the script runs");
    if output.status.code() == Some(IMPOSSIBLE) {
        return None;
    }
    assert!(output.status.success(), "tests/real/providers {name} failed: {}", output.status);
    Some(String::from_utf8(output.stdout).expect("a path").trim().into())
}

impl Process {
    /// Starts it, and waits until `ready` is answered at `port`.
    pub(crate) async fn start(mut command: Command, folder: &Path, port: u16, ready: &str) -> Self {
        let log = folder.join("log");
        let file = File::create(&log).expect("our own folder");
        command.process_group(0).stdin(Stdio::null()).current_dir(folder);
        command.stdout(file.try_clone().expect("a file")).stderr(file);
        let mut process = Self { child: command.spawn().expect("it runs"), log };
        let began = Instant::now();
        while !is_ready(port, ready).await {
            let ended = process.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "it ended at its start:\n{}", process.said());
            assert!(began.elapsed() < START, "not ready after {START:?}:\n{}", process.said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        process
    }

    /// The end of what it wrote.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

async fn is_ready(port: u16, path: &str) -> bool {
    let answer = Client::new(port).try_send(http::Method::GET, path, "").await;
    answer.is_ok_and(|answer| answer.status.is_success())
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        let _ = killpg(group, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while killpg(group, None).is_ok() && Instant::now() < deadline {
            // So that it is not its own zombie that is waited for.
            let _ = self.child.try_wait();
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
