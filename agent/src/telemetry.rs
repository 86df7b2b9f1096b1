//! The program's own log, on standard error. The access log is another thing, with a module of its own.

use crate::settings::Environment;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// `RUST_LOG` decides what is logged; `info` when it is not set or can't be read.
pub(crate) fn start(environment: &Environment) {
    let filter = environment.get("RUST_LOG").and_then(|text| text.parse().ok());
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new("info")))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    // Somebody else's subscriber is there already, as in a test: then it logs.
    let _ = started;
}
