//! The control plane of Attach Gateway.
//!
//! Postgres is its only state. `domain` says what there is; `db` holds all SQL, behind transactions that each see one
//! tenant or, as the operator, all; `ops` are the things that can be done, each in one transaction with its audit entry.
//!
//! `authority` signs certificates and bundles; `bundle` puts together what a pool's agents serve, and `changes` tells their
//! streams of it. `grpc` is the door for agents. `start` knows everything.
//!
//! Direction: `domain`, `seal` ← `db` ← `authority` ← `ops`, `bundle` ← `changes` ← `grpc` ← `start` ← `cli`.

mod authority;
mod bundle;
mod changes;
mod cli;
pub mod clock;
pub mod db;
pub mod domain;
mod grpc;
pub mod ops;
pub mod seal;
mod start;

pub use cli::main;
