//! What is measured: a process on core 0, and its figures.

use crate::load::{Done, Scenario};
use attach_tests::{Client, Issuer, eventually, free_port, issuer::AUDIENCE};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    child: Option<Child>,
    figures: Vec<Figure>,
}

struct Figure {
    scenario: Scenario,
    cpu_each: f64,
    rate: f64,
}

/// The engine behind all targets, on the load's core.
pub(crate) struct Engine {
    pub(crate) port: u16,
    child: Child,
}

pub(crate) fn engine(program: &Path) -> Engine {
    let port = free_port();
    let child = Command::new(program).args(["engine", &port.to_string()]).spawn().expect("this program runs");
    pin(pid(&child), 1);
    Engine { port, child }
}

impl Target {
    pub(crate) fn direct(engine: u16) -> Self {
        Self { name: "direct", port: engine, child: None, figures: Vec::new() }
    }

    pub(crate) fn nginx(engine: u16, folder: &Path) -> Self {
        let port = free_port();
        let configuration = format!(
            "daemon off; master_process off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
  keepalive_requests 1000000000;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off; }} }}
}}\n",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).expect("our own folder");
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let mut command = Command::new(program.expect("nginx is installed: ./tests/run installs it"));
        command.arg("-c").arg(file).arg("-p").arg(folder);
        Self::start("nginx", port, command)
    }

    pub(crate) fn bare(program: &Path, engine: u16) -> Self {
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["proxy", &port.to_string(), &engine.to_string()]);
        Self::start("bare hyper proxy", port, command)
    }

    pub(crate) fn gateway(engine: u16, issuer: &Issuer, folder: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new(release_gateway());
        command
            .env_clear()
            .current_dir(folder)
            .env("OIDC_ISSUER", issuer.url())
            .env("OIDC_AUD", AUDIENCE)
            .env("MAX_TOKENS_PER_MIN", "1000000000000")
            .env("ENGINE_URL", format!("http://127.0.0.1:{engine}"))
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--admin-port",
                &free_port().to_string(),
            ])
            // As nginx's is.
            .args(["--access-log", "off"])
            .args(["--workers", "1"]);
        Self::start("attach-gateway, all on", port, command)
    }

    fn start(name: &'static str, port: u16, mut command: Command) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the target starts");
        pin(pid(&child), 0);
        Self { name, port, child: Some(child), figures: Vec::new() }
    }

    pub(crate) async fn wait(&self) {
        let client = Client::new(self.port);
        eventually(self.name, Duration::from_secs(10), async || {
            client.try_send(http::Method::GET, "/health", "").await.ok()
        })
        .await;
        // Threads that were started since have their own place.
        if let Some(child) = &self.child {
            for task in tasks(pid(child)) {
                pin(task, 0);
            }
        }
    }

    /// CPU time since its start, of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let Some(child) = &self.child else { return Duration::ZERO };
        let of_task = |task: Pid| {
            let text = fs::read_to_string(format!("/proc/{}/task/{task}/schedstat", child.id())).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(tasks(pid(child)).into_iter().filter_map(of_task).sum())
    }

    pub(crate) fn record(&mut self, scenario: Scenario, done: &Done, cpu: Duration) {
        let units = done.units.max(1) as f64;
        let figure = Figure {
            scenario,
            cpu_each: cpu.as_secs_f64() * 1e6 / units,
            rate: units / done.time.as_secs_f64(),
        };
        self.figures.push(figure);
    }

    pub(crate) fn cpu_each(&self, scenario: Scenario) -> Vec<f64> {
        self.of(scenario).map(|figure| figure.cpu_each).collect()
    }

    pub(crate) fn rates(&self, scenario: Scenario) -> Vec<f64> {
        self.of(scenario).map(|figure| figure.rate).collect()
    }

    fn of(&self, scenario: Scenario) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(move |figure| figure.scenario == scenario)
    }
}

/// Beside this program: `cargo build --release` makes both.
fn release_gateway() -> PathBuf {
    let path = std::env::current_exe().expect("a program is a file").with_file_name("attach-gateway");
    assert!(path.exists(), "{} is missing: cargo build --release -p attach-gateway", path.display());
    path
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

fn tasks(process: Pid) -> Vec<Pid> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw)).collect()
}

/// On a machine with one core everything shares it.
pub(crate) fn pin(process: Pid, core: usize) {
    let mut cores = CpuSet::new();
    if cores.set(core).is_ok() {
        let _ = sched_setaffinity(process, &cores);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
