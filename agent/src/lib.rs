//! The data plane of Attach Gateway: one process in front of the engines of a GPU host.
//!
//! A request goes through the stages of `pipeline` in this order, each taking the evidence of the one before by value,
//! so that none can be left out:
//!
//! front → classify → identify → read the ask → authorize → admit → route → forward → meter → settle
//!
//! Where things are: `cli` and `settings` are read once by `start`, which builds everything. `source` yields
//! snapshots of the bundle, from a file or the environment, and the rest can't tell which. Each `core` is one thread
//! with its own `pipeline` and `settle` task; what cores share is in `core::Shared`. `usage` is the durable spool and
//! its reader.
//!
//! A gateway that has joined a control plane has `managed` beside that: its `enrolment`, one connection
//! (`control_plane`), the `source` that follows the stream of configuration, and the `reporter` that sends usage. Nothing
//! on the way of a request knows of them.
//!
//! Why somebody is refused, `explain` says: to a command on the host, and to the control plane.
//!
//! For people there are two commands: `sign_in` gets them a token, and `connect` adds it to the requests of programs that
//! can't.
//!
//! Dependencies between the modules run one way; a test of the `tests` crate holds the list.

mod access_log;
mod admin;
mod admit;
mod answer;
mod ask;
mod authorize;
mod backoff;
mod callers;
mod cli;
mod clock;
mod connect;
mod connection;
mod control_plane;
mod core;
mod cors;
mod decisions;
mod declared_models;
mod did_key;
mod enrolment;
mod explain;
mod forward;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hop_by_hop;
mod identify;
mod json_edit;
mod listen;
mod load;
mod managed;
mod meter;
mod metrics;
mod own_routes;
mod peer;
mod pipeline;
mod refusal;
mod reporter;
mod route;
mod settings;
mod settle;
mod sign_in;
mod snapshot;
mod source;
mod start;
mod telemetry;
mod tls;
mod usage;
mod validity;
mod watched;
mod whole_file;
mod within;

// The other plane has these too, so they stand in a crate of their own.
use attach_outbound::{dial, fetch};

/// Runs the command line, and gives the process's exit code.
pub fn main() -> std::process::ExitCode {
    cli::run()
}
