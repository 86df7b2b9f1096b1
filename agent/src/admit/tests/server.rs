//! A real Redis of one test.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use url::Url;

pub(super) struct Server {
    process: Child,
    directory: TempDir,
    port: u16,
}

impl Server {
    /// `None`, said aloud, where no `redis-server` is installed.
    pub(super) fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let Some(process) = spawn(port, &directory) else {
            eprintln!("SKIPPED: redis-server is not installed, nothing was tested on Redis");
            return None;
        };
        let server = Self { process, directory, port };
        server.wait();
        Some(server)
    }

    pub(super) fn url(&self) -> Url {
        format!("redis://127.0.0.1:{}", self.port).parse().unwrap()
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the same port, and empty.
    pub(super) fn start_again(&mut self) {
        self.process = spawn(self.port, &self.directory).unwrap();
        self.wait();
    }

    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.process.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// What the server answers, as it stands on the wire.
    pub(super) fn command(&self, words: &[&[u8]]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        stream.write_all(&request).ok()?;
        let mut answer = vec![0; 65_536];
        let length = stream.read(&mut answer).ok()?;
        answer.truncate(length);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    fn wait(&self) {
        let start = Instant::now();
        while self.command(&[b"PING"]).is_none_or(|answer| answer != "+PONG\r\n") {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, directory: &TempDir) -> Option<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .ok()
}
