//! A Redis of a test's own.

use crate::free_port;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Ends when it is dropped.
pub struct Redis {
    pub port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

impl Redis {
    /// `None`, said loudly, when this machine has no `redis-server`.
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        match spawn(port, &folder) {
            Ok(child) => {
                let redis = Self { port, child, folder };
                redis.wait();
                Some(redis)
            }
            Err(error) => {
                assert!(!crate::needs_servers(), "redis-server can't be started: {error}");
                eprintln!("SKIPPED: redis-server can't be started ({error}); ./tests/run installs it");
                None
            }
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), signal).expect("it runs");
    }

    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Empty, at the same address.
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, &self.folder).expect("it started before");
        self.wait();
    }

    fn wait(&self) {
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server did not open its port");
    }
}

fn spawn(port: u16, folder: &tempfile::TempDir) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A hung process does not die of SIGTERM.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
