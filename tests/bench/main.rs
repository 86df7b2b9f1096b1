//! What the gateway costs: CPU per request and per streamed chunk, and requests a second on one core, beside no proxy
//! at all, nginx as a plain proxy, and a bare hyper proxy, all in one run.
//!
//! `cargo build --release && cargo run --release -p attach-tests --bin bench [SECONDS [SCENARIO]]`
//!
//! The target has core 0 for itself; engine and load share core 1. The gateway does everything: JWT, a token limit per
//! user, metering, durable usage. SECONDS are what each target is measured for in all; rounds are interleaved, and each
//! figure is the median of the rounds; machines are noisy, so read the ratios to nginx. Where the load's core is full, a
//! rate is a lower bound; CPU is not affected.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark fails loudly and prints what it measured"
)]

mod engine;
mod load;
mod proxy;
mod target;

use load::{Load, Scenario};
use std::{env, path::PathBuf, time::Duration};
use target::Target;

/// Many and short: what else the machine does then meets some rounds and not the median, and one round's targets are
/// measured within the second, on the same machine as it were.
const ROUNDS_PER_SECOND: u32 = 4;
const ROUND: Duration = Duration::from_millis(250);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["engine", port] => engine::run(port.parse().expect("a port")),
        ["proxy", port, upstream] => {
            proxy::run(port.parse().expect("a port"), upstream.parse().expect("a port"))
        }
        [] => compare(11, ""),
        [seconds, rest @ ..] if rest.len() < 2 => {
            compare(seconds.parse().expect("seconds for each target"), rest.first().unwrap_or(&""));
        }
        _ => panic!("usage: bench [SECONDS [SCENARIO]]"),
    }
}

fn compare(seconds: u32, wanted: &str) {
    let rounds = seconds * ROUNDS_PER_SECOND;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    pin_myself_to_core_1();
    runtime.block_on(async {
        let engine = target::engine(&own_program());
        let issuer = attach_tests::Issuer::start().await;
        let tokens: Vec<String> = (0..200).map(|user| issuer.token(&format!("user-{user:03}"))).collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut targets = vec![
            Target::direct(engine.port),
            Target::nginx(engine.port, folder.path()),
            Target::bare(&own_program(), engine.port),
            Target::gateway(engine.port, &issuer, folder.path()),
        ];
        for target in &targets {
            target.wait().await;
        }
        for scenario in Scenario::ALL.into_iter().filter(|scenario| scenario.title().starts_with(wanted)) {
            for _ in 0..rounds {
                for target in &mut targets {
                    let before = target.cpu();
                    let done =
                        Load { port: target.port, tokens: &tokens, scenario, length: ROUND }.run().await;
                    let cpu = target.cpu().saturating_sub(before);
                    target.record(scenario, &done, cpu);
                }
            }
            print(scenario, &targets);
        }
    });
}

fn print(scenario: Scenario, targets: &[Target]) {
    println!("\n{}", scenario.title());
    println!(
        "{:<28}{:>14}{:>12}{:>22}{:>14}",
        "", "CPU µs each", "× nginx", "(lowest–highest)", "each second"
    );
    let nginx =
        targets.iter().find(|target| target.name == "nginx").expect("nginx is among them").cpu_each(scenario);
    for target in targets {
        let each = target.cpu_each(scenario);
        let mut ratios: Vec<f64> = each.iter().zip(&nginx).map(|(own, nginx)| own / nginx).collect();
        ratios.sort_by(f64::total_cmp);
        let rate = median(target.rates(scenario));
        if target.name == "direct" {
            println!("{:<28}{:>14}{:>12}{:>22}{:>14.0}", target.name, "–", "–", "", rate);
            continue;
        }
        let (low, high) = (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
        let range = format!("({low:.2}–{high:.2})");
        println!(
            "{:<28}{:>14.1}{:>12.2}{:>22}{:>14.0}",
            target.name,
            median(each),
            median(ratios),
            range,
            rate
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn own_program() -> PathBuf {
    env::current_exe().expect("a program is a file")
}

fn pin_myself_to_core_1() {
    let pid = nix::unistd::Pid::this();
    target::pin(pid, 1);
}
