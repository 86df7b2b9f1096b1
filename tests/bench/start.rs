//! How long a gateway takes from its start to its first answer, and how much memory it holds when nobody calls.
//!
//! `cargo build --release -p attach-gateway && cargo run -p attach-tests --bin bench-start`, or with the path of
//! another binary as its argument. The figures are printed, not judged.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for the developer's eyes"
)]

use attach_tests::{Client, Engine, Issuer, engine::samples, gateway::Setup};
use serde_json::json;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

const STARTS: usize = 10;
const KEY: &str = "sk-test-0123456789";

#[tokio::main]
async fn main() {
    let binary = std::env::args_os().nth(1).map_or_else(release_binary, PathBuf::from);
    let (issuer, engine) = (Issuer::start().await, Engine::start(samples::openai_chat(9, 4)).await);
    let token = issuer.token("alice");
    println!("{} on {} cores", binary.display(), std::thread::available_parallelism().map_or(0, usize::from));
    let keys = || Setup::new().with_binary(&binary).with_engine(&engine).with_keys(&[KEY]);
    let tokens = || Setup::new().with_binary(&binary).with_engine(&engine).with_issuer(&issuer);
    measure("API key", keys, KEY).await;
    measure("JWT, its issuer's keys fetched first", tokens, &token).await;
}

async fn measure(title: &str, setup: impl Fn() -> Setup, credential: &str) {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(first_answer(&setup(), credential).await);
    }
    starts.sort();
    let idle = setup().start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = resident_kib(idle.pid());
    for _ in 0..1_000 {
        assert_eq!(ask(&idle.client().with_bearer(credential)).await, Ok(200));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (median, slowest) = (starts[STARTS / 2], starts[STARTS - 1]);
    println!("{title}: first 200 after {median:.1?} (median of {STARTS}; slowest {slowest:.1?})");
    let megabytes = |kib: u64| kib as f64 / 1024.0;
    println!(
        "  resident when idle {:.1} MiB, after 1,000 requests {:.1} MiB",
        megabytes(before),
        megabytes(resident_kib(idle.pid()))
    );
}

/// From before the process is made to the end of its first answer, on a state folder that is new.
async fn first_answer(setup: &Setup, credential: &str) -> Duration {
    let before = Instant::now();
    let gateway = setup.spawn();
    let client = gateway.client().with_bearer(credential);
    loop {
        match ask(&client).await {
            Ok(200) => return before.elapsed(),
            Ok(status) => panic!("{status} instead of 200"),
            Err(error) if before.elapsed() > Duration::from_secs(20) => panic!("{error}\n{}", gateway.log()),
            // Nobody listens yet.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn ask(client: &Client) -> Result<u16, String> {
    let body = json!({"model": "tiny", "messages": []}).to_string();
    let answer = client.try_send(http::Method::POST, "/v1/chat/completions", body).await?.whole().await;
    answer.broken.map_or(Ok(answer.status.as_u16()), Err)
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// In the target folder where this program lies.
fn release_binary() -> PathBuf {
    let program = std::env::current_exe().expect("a program is a file");
    // target/debug/bench-start → target/release/attach-gateway
    let binary = program.ancestors().nth(2).expect("in a target folder").join("release/attach-gateway");
    assert!(binary.exists(), "{} is missing: cargo build --release -p attach-gateway", binary.display());
    binary
}
