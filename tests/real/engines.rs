//! The real engines as processes.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Ollama,
    LlamaCpp,
}

/// Ended when it is dropped.
pub(crate) struct Engine {
    flavour: Flavour,
    url: String,
    pid: i32,
    folder: tempfile::TempDir,
}

pub(crate) enum Start {
    Up(Engine),
    /// Not on this machine; the reason has been printed.
    Impossible,
}

/// The scripts' own word for that.
const IMPOSSIBLE: i32 = 3;

/// Between two looks at what an engine does.
const LOOK: Duration = Duration::from_millis(10);

/// Looks that make an engine idle: all but [`ODD`] of this many in a row find none of its threads wanting a processor.
const LOOKS: usize = 20;

/// Timers and health checks wake an idle engine now and then.
const ODD: usize = 3;

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("real").join(name))
}

/// The folder with the engines and the clients, made if need be; `None` where it cannot be, which has been said.
pub(crate) fn parts() -> Option<PathBuf> {
    let output = script("parts").stderr(std::process::Stdio::inherit()).output().expect("the script runs");
    if output.status.code() == Some(IMPOSSIBLE) {
        return None;
    }
    assert!(output.status.success(), "tests/real/parts failed: {}", output.status);
    Some(String::from_utf8(output.stdout).expect("a path").trim().into())
}

impl Engine {
    pub(crate) fn start(flavour: Flavour) -> Start {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (up, pid_file) = match flavour {
            Flavour::Ollama => ("ollama-up", "ollama.pid"),
            Flavour::LlamaCpp => ("llamacpp-up", "llamacpp.pid"),
        };
        let output = script(up)
            .arg(folder.path())
            .arg(attach_tests::free_port().to_string())
            // One turn at a time: who comes next is served as soon as the one before is gone, and not earlier.
            .env("OLLAMA_NUM_PARALLEL", "1")
            .stderr(std::process::Stdio::inherit())
            .output()
            .expect("the script runs");
        if output.status.code() == Some(IMPOSSIBLE) {
            return Start::Impossible;
        }
        assert!(output.status.success(), "{up} failed: {}", output.status);
        let url = String::from_utf8(output.stdout).expect("a URL").trim().to_owned();
        let pid = fs::read_to_string(folder.path().join(pid_file)).expect("the script writes it");
        Start::Up(Self { flavour, url, pid: pid.trim().parse().expect("a number"), folder })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.flavour {
            Flavour::Ollama => "Ollama",
            Flavour::LlamaCpp => "llama.cpp",
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the URL ends with the port")
    }

    /// The process that computes: Ollama has a child for it, and none while no model is loaded.
    pub(crate) fn runner(&self) -> Option<i32> {
        match self.flavour {
            Flavour::Ollama => child_of(self.pid),
            Flavour::LlamaCpp => Some(self.pid),
        }
    }

    pub(crate) fn kill_runner(&self) {
        let runner = self.runner().expect("a model is loaded");
        kill(Pid::from_raw(runner), Signal::SIGKILL).expect("it runs");
    }

    /// Whether it computes, seen within a moment.
    pub(crate) async fn is_at_work(&self) -> bool {
        let Some(runner) = self.runner() else { return false };
        let mut seen = 0;
        for _ in 0..LOOKS {
            seen += usize::from(wants_processor(runner));
            tokio::time::sleep(LOOK).await;
        }
        seen > ODD
    }

    /// How long after `since` the engine stopped computing.
    pub(crate) async fn idle_after(&self, since: Instant) -> Duration {
        let runner = self.runner().expect("a model is loaded");
        let mut at_work = Vec::new();
        loop {
            at_work.push((since.elapsed(), wants_processor(runner)));
            if let Some(quiet) = at_work.len().checked_sub(LOOKS).and_then(|from| at_work.get(from..))
                && quiet.iter().filter(|(_, at_work)| *at_work).count() <= ODD
            {
                return quiet.first().map(|(time, _)| *time).unwrap_or_default();
            }
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "{} computes on and on for nobody",
                self.name()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.pid);
        // Neither is to be ended twice: it may be gone already.
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while state(self.pid).is_some_and(|state| state != 'Z') {
            if Instant::now() > deadline {
                let _ = kill(pid, Signal::SIGKILL);
                break;
            }
            std::thread::sleep(LOOK);
        }
        // The folder, with the copy of the model, goes with us.
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

/// Whether a thread of it runs, or would if a processor were free: true on a busy machine too.
fn wants_processor(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads
        .flatten()
        .any(|thread| after_name(&thread.path().join("stat")).is_some_and(|stat| stat.starts_with('R')))
}

fn state(pid: i32) -> Option<char> {
    after_name(Path::new(&format!("/proc/{pid}/stat"))).and_then(|stat| stat.chars().next())
}

fn child_of(parent: i32) -> Option<i32> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let mut pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let stat = after_name(Path::new(&format!("/proc/{pid}/stat")));
        stat.is_some_and(|stat| {
            let mut fields = stat.split(' ');
            fields.next() != Some("Z") && fields.next() == Some(&parent.to_string())
        })
    })
}

/// The fields of a `stat` file after the process's name, which may hold anything: state, parent, …
fn after_name(path: &Path) -> Option<String> {
    let stat = fs::read_to_string(path).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}
