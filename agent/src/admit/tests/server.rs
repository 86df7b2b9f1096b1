//! A real Redis of one test.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use url::Url;

pub(super) struct Server {
    process: Child,
    directory: Arc<TempDir>,
    port: u16,
}

impl Server {
    /// `None`, said aloud, where no `redis-server` is installed.
    pub(super) fn start() -> Option<Self> {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        loop {
            let port = free_port();
            let Some(process) = spawn(port, &directory) else {
                eprintln!("SKIPPED: redis-server is not installed, nothing was tested on Redis");
                return None;
            };
            let mut server = Self { process, directory: Arc::clone(&directory), port };
            if server.is_up() {
                return Some(server);
            }
        }
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
        assert!(self.is_up(), "redis-server does not start again");
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

    /// Whether it is this process that answers on the port: another test's server may have taken it first.
    fn is_up(&mut self) -> bool {
        let start = Instant::now();
        let mine = format!("process_id:{}\r\n", self.process.id());
        while self.process.try_wait().unwrap().is_none() {
            if self.command(&[b"INFO", b"server"]).is_some_and(|answer| answer.contains(&mine)) {
                return true;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Below the ports that the kernel gives to outgoing connections, so that none takes it while a server restarts.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
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
