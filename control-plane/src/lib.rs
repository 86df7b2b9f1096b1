//! The control plane of Attach Gateway.
//!
//! Postgres is its only state. `domain` says what there is; `db` holds all SQL, behind transactions that each see one
//! tenant or, as the operator, all; `ops` are the things that can be done, each in one transaction with its audit entry.
//!
//! `authority` signs certificates and bundles; `bundle` puts together what a pool's agents serve, and `changes` tells their
//! streams of it; `issuer_keys` asks issuers for the keys that go into it, `questions` what a gateway makes of a credential.
//! Three doors lead to `ops`, and never to one another: `grpc` for agents, `api` and `console` for people, who prove at `auth`
//! who they are. `router` has every address, `listen` the connections. `start` knows everything.
//!
//! Direction: `domain`, `seal` ← `db` ← `authority`, `questions` ← `ops`, `bundle` ← `changes`, `issuer_keys` ← `grpc`, `auth`
//! ← `api`, `console` ← `router` ← `start` ← `cli`.

mod api;
mod auth;
mod authority;
mod bundle;
mod changes;
mod cli;
pub mod clock;
mod console;
pub mod db;
pub mod domain;
mod grpc;
mod issuer_keys;
mod listen;
pub mod ops;
mod questions;
mod router;
pub mod seal;
mod start;
mod state;

pub use cli::main;
