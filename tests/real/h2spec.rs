//! HTTP/2 as its specification has it, asked by h2spec.

use crate::World;
use attach_tests::gateway::Setup;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
};

const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";

/// Of its 145 tests: a frame that is too large, settings out of turn, and two headers of the connection.
const GO_FAILS: usize = 4;

/// What is asked for here is answered at once, so an answer may be out before the frame comes that breaks a rule; h2spec
/// takes that for a failure. What fails counts when it does so each time.
const TRIES: usize = 3;

pub(crate) async fn http2_is_as_specified(world: Rc<World>) {
    let Some(h2spec) = h2spec(&world.parts) else { return };
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let setup = Setup::new().with_issuer(&world.issuer).with("ENGINE_URL", world.ollama.url());
    std::fs::create_dir(setup.folder().join("certs")).expect("our own folder");
    setup.file("certs/server.crt", &certified.cert.pem());
    setup.file("certs/server.key", &certified.signing_key.serialize_pem());
    let gateway = setup.start().await;
    let port = gateway.port.to_string();
    let report = setup.folder().join("h2spec.xml");
    let report_to = report.display().to_string();
    let arguments =
        ["-h", "127.0.0.1", "-p", &port, "-P", "/health", "-t", "-k", "--timeout", "5", "-j", &report_to];
    let mut always: Option<BTreeSet<String>> = None;
    for _ in 0..TRIES {
        let run = Command::new(&h2spec).args(arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        let summary = text.lines().rev().find(|line| line.contains(" passed")).unwrap_or("no summary").trim();
        world.note(format!("h2spec: {summary}; Go's own server fails {GO_FAILS}"));
        assert!(summary.starts_with("145 tests, "), "{text}");
        let failed = failed(&std::fs::read_to_string(&report).expect("its report"));
        let both = always.map_or(failed.clone(), |before| before.intersection(&failed).cloned().collect());
        if both.is_empty() {
            return;
        }
        always = Some(both);
    }
    panic!("each time: {always:?}");
}

/// Tests with a failure in a report of `JUnit`'s form.
fn failed(report: &str) -> BTreeSet<String> {
    let cases = report.split("<testcase ").skip(1);
    let failed = cases.filter(|case| case.contains("<failure") || case.contains("<error"));
    failed
        .map(|case| {
            case.split('>').next().unwrap_or_default().split(" time=").next().unwrap_or_default().to_owned()
        })
        .collect()
}

/// `None`, said loudly, where it can't be had.
fn h2spec(parts: &Path) -> Option<PathBuf> {
    let program = parts.join("h2spec");
    if program.exists() {
        return Some(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = [path.to_string_lossy().as_ref(), "/usr/local/go/bin"].join(":");
    let mut command = Command::new("go");
    command.args(["install", H2SPEC]).env("PATH", path).env("GOBIN", parts).env("GOFLAGS", "-modcacherw");
    let why = match command.output() {
        Ok(output) if output.status.success() => return Some(program),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("go: {error}"),
    };
    println!("SKIPPED: h2spec can't be built: {}", why.lines().last().unwrap_or_default());
    None
}
