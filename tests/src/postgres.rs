//! A Postgres of a test's own, run by an unprivileged user: it refuses to run as root.

use crate::free_port;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid, User, chown},
};
use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Owns all databases, as one login does on most servers: roles are the whole server's.
const OWNER: &str = "owner";

/// What the shell between is told when the data is to stay.
const KEEP: &str = "keep";

/// Ends when it is dropped.
pub struct Postgres {
    port: u16,
    child: Child,
    /// Its end is the server's.
    alive: Option<ChildStdin>,
    folder: PathBuf,
    databases: AtomicU32,
}

/// A database of a test's own, with a serving login of its own.
pub struct TestDatabase {
    pub name: String,
    /// Migrates; no superuser, but it may make roles.
    pub owner_url: String,
    /// Serves; inherits nothing.
    pub serving_url: String,
    pub serving_login: String,
    superuser_url: String,
}

impl Postgres {
    /// `None`, said loudly, when this machine has no Postgres.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(!crate::needs_servers(), "there is no Postgres here");
            eprintln!("SKIPPED: there is no Postgres here; ./tests/run installs it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        if let Some(user) = unprivileged() {
            chown(&folder, Some(user.uid), Some(user.gid)).expect("root may give a folder away");
        }
        let data = folder.join("data");
        let initdb = as_user(&programs.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--pgdata"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(initdb.success(), "initdb makes a cluster");
        let port = free_port();
        let (child, alive) = spawn(&programs, port, &folder);
        let postgres = Self { port, child, alive, folder, databases: AtomicU32::new(0) };
        postgres.wait();
        psql(&postgres.url("postgres", "postgres"), &format!("create role {OWNER} login createrole"))
            .expect("the superuser may");
        Some(postgres)
    }

    /// Ends it at once, as a power cut does; what it had committed is there when it starts again.
    pub fn kill(&mut self) {
        if let Some(mut alive) = self.alive.take() {
            writeln!(alive, "{KEEP}").expect("the shell listens");
        }
        let _ = self.child.wait();
    }

    /// It takes connections and answers nothing, until it wakes.
    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// To the server and the processes of its sessions.
    fn signal(&self, signal: Signal) {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        let server = file.lines().next().expect("its first line is the server");
        let sessions = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        for pid in [server].into_iter().chain(sessions.unwrap_or_default().split_whitespace()) {
            // A session may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid.parse().expect("a number")), signal);
        }
    }

    /// At the same address, with what it had.
    pub fn start_again(&mut self) {
        let programs = programs().expect("it started before");
        (self.child, self.alive) = spawn(&programs, self.port, &self.folder);
        self.wait();
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !psql(&self.url("postgres", "postgres"), "select 1").is_ok_and(|text| text == "1") {
            assert!(Instant::now() < deadline, "Postgres starts within 20 s");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn url(&self, login: &str, database: &str) -> String {
        format!("postgres://{login}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn database(&self) -> TestDatabase {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let serving_login = format!("{name}_serving");
        let superuser = self.url("postgres", "postgres");
        for statement in [
            format!("create role {serving_login} login noinherit"),
            format!("create database {name} owner {OWNER}"),
        ] {
            psql(&superuser, &statement).expect("the superuser may");
        }
        let superuser_url = self.url("postgres", &name);
        psql(&superuser_url, &format!("alter schema public owner to {OWNER}")).expect("the superuser may");
        TestDatabase {
            owner_url: self.url(OWNER, &name),
            serving_url: self.url(&serving_login, &name),
            superuser_url,
            serving_login,
            name,
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.child.wait();
    }
}

fn spawn(programs: &Path, port: u16, folder: &Path) -> (Child, Option<ChildStdin>) {
    // A shell in between ends the server when this process is gone, however it went: then its input ends.
    let script = format!(
        "\"$@\" & server=$!; read -r word; kill -QUIT $server; wait $server; [ \"$word\" = {KEEP} ] || rm -rf \"$folder\""
    );
    let mut child = as_user(Path::new("sh"))
        .args(["-c", &script, "sh"])
        .arg(programs.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
        .args(["-c", "max_connections=300", "-c"])
        .arg(format!("unix_socket_directories={}", folder.display()))
        .env("folder", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres runs");
    let alive = child.stdin.take();
    (child, alive)
}

impl TestDatabase {
    /// What no policy holds back: the test's own look at the tables. Columns are divided by `|`.
    pub fn as_superuser(&self, statement: &str) -> Result<String, String> {
        psql(&self.superuser_url, statement)
    }

    /// All rows of all tables.
    pub fn dump(&self) -> String {
        let program = programs().expect("it runs").join("pg_dump");
        let output = Command::new(program)
            .args(["--data-only", "--inserts", "-d", &self.superuser_url])
            .output()
            .expect("pg_dump runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        // Its own commands hold a word that is another each time.
        text.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
    }

    pub fn superuser_url(&self) -> &str {
        &self.superuser_url
    }
}

/// The rows, or what Postgres says.
pub fn psql(url: &str, statement: &str) -> Result<String, String> {
    let program = programs().map_or_else(|| PathBuf::from("psql"), |folder| folder.join("psql"));
    let output = Command::new(program)
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement])
        .env("PGCONNECT_TIMEOUT", "5")
        .output()
        .expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The folder of the server's programs. Debian keeps them off the path, by version.
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        // Where a link on the path leads to, its siblings are.
        .find_map(|folder| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned()));
    let of_debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let mut folders: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
        folders.retain(|folder| folder.join("initdb").exists());
        folders.sort();
        folders.pop()
    };
    on_path.or_else(of_debian)
}

fn unprivileged() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    let names = ["postgres", "nobody"];
    names.iter().find_map(|name| User::from_name(name).ok().flatten())
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = unprivileged() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/");
    command
}
