//! The gateway in front of the real Ollama and the real llama.cpp server, called by the official clients.
//!
//! `tests/run real` runs this; `tests/run real NAME` only what has NAME in it. The engines start once, have one thread
//! and one turn at a time, and serve one scenario after another: what is measured here is not measured beside another.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one writes the report of its run"
)]

mod changes;
mod clients;
mod counts;
mod engines;
mod first_commands;
mod h2spec;
mod leaving;
mod llamacpp;
mod ollama;
mod runner_killed;

use attach_tests::Issuer;
use counts::Row;
use engines::{Engine, Flavour, Start};
use std::{
    cell::RefCell,
    future::Future,
    path::PathBuf,
    pin::Pin,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{JoinError, LocalSet},
};

/// What all scenarios share.
struct World {
    parts: PathBuf,
    ollama: Engine,
    /// Absent on a processor that its packaged build does not run on.
    llamacpp: Option<Engine>,
    issuer: Issuer,
    rows: RefCell<Vec<Row>>,
    /// What was measured, for the end of the report.
    notes: RefCell<Vec<String>>,
}

type Scenario = fn(Rc<World>) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! scenarios {
    ($($module:ident::$name:ident,)*) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), |world| Box::pin($module::$name(world))),)*]
    };
}

/// In this order: the last ones kill engines.
const SCENARIOS: [(&str, Scenario); 15] = scenarios![
    ollama::each_request_of_the_official_clients_is_counted_as_the_engine_counts,
    ollama::models_are_listed_and_an_unknown_one_is_refused_in_each_dialect,
    ollama::one_model_has_one_name_in_the_usage_however_a_caller_writes_it,
    ollama::a_body_that_the_engine_would_read_otherwise_is_refused,
    ollama::a_foreign_origin_and_host_do_not_reach_the_engine,
    changes::models_are_made_copied_and_deleted_by_an_admin_alone,
    changes::a_models_file_reaches_the_engine_whole_and_the_gateway_does_not_keep_it,
    llamacpp::each_request_of_the_official_clients_is_counted_as_the_engine_counts,
    first_commands::run_as_written,
    h2spec::http2_is_as_specified,
    leaving::a_client_that_leaves_frees_the_engine_within_a_second,
    leaving::an_official_client_that_is_killed_frees_the_engine_within_a_second,
    runner_killed::the_stream_ends_in_an_error_of_its_dialect,
    runner_killed::the_official_clients_raise_an_error,
    runner_killed::llamacpp_itself,
];

fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(async {
        let mut terminated = signal(SignalKind::terminate()).expect("a handler");
        // An engine outlives the script that started it, so a run that is broken off has to come by its end too.
        tokio::select! {
            code = run(&wanted) => code,
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
            _ = terminated.recv() => ExitCode::from(143),
        }
    }))
}

async fn run(wanted: &str) -> ExitCode {
    let began = Instant::now();
    let Some(parts) = engines::parts() else { return ExitCode::from(3) };
    let Start::Up(ollama) = Engine::start(Flavour::Ollama) else { return ExitCode::FAILURE };
    let llamacpp = match Engine::start(Flavour::LlamaCpp) {
        Start::Up(engine) => Some(engine),
        Start::Impossible => None,
    };
    println!("engines are up after {:.1} s", began.elapsed().as_secs_f64());
    let issuer = Issuer::start().await;
    let world = Rc::new(World {
        parts,
        ollama,
        llamacpp,
        issuer,
        rows: RefCell::default(),
        notes: RefCell::default(),
    });
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, scenario) in SCENARIOS {
        if !name.contains(wanted) {
            continue;
        }
        println!("\n== {name}");
        let began = Instant::now();
        let outcome = tokio::task::spawn_local(scenario(Rc::clone(&world))).await;
        println!(
            "== {} in {:.1} s",
            if outcome.is_ok() { "ok" } else { "FAILED" },
            began.elapsed().as_secs_f64()
        );
        match outcome {
            Ok(()) => passed += 1,
            Err(error) => failed.push((name, said_by(error))),
        }
    }
    report(&world);
    println!("\n{passed} passed, {} failed, in {:.0} s", failed.len(), began.elapsed().as_secs_f64());
    if world.llamacpp.is_none() {
        println!("SKIPPED what needs llama.cpp's server: its packaged build does not run on this processor");
    }
    for (name, said) in &failed {
        println!("FAILED {name}: {said}");
    }
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(world: &World) {
    counts::print(&world.rows.borrow());
    if !world.notes.borrow().is_empty() {
        println!("\nmeasured:");
    }
    for note in world.notes.borrow().iter() {
        println!("  {note}");
    }
}

impl World {
    fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    /// A gateway before this engine, and a good token for it.
    async fn gateway(&self, engine: &Engine) -> (attach_tests::Gateway, String) {
        let setup =
            attach_tests::gateway::Setup::new().with_issuer(&self.issuer).with("ENGINE_URL", engine.url());
        (setup.start().await, self.issuer.token("alice"))
    }
}

/// In whole milliseconds, for the report.
fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// What a scenario that failed said; a reader of the end of a log has not seen the rest.
fn said_by(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "was broken off".to_owned() };
    let said = panic.downcast_ref::<String>().map(String::as_str);
    said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
