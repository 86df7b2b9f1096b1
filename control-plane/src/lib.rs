//! The control plane of Attach Gateway.
//!
//! Postgres is its only state. `domain` says what there is; `db` holds all SQL, behind transactions that each see one
//! tenant or, as the operator, all; `ops` are the things that can be done, each in one transaction with its audit entry.
//!
//! Direction: `domain` ← `db` ← `ops` ← `cli`.

mod cli;
pub mod db;
pub mod domain;
pub mod ops;
pub mod seal;

pub use cli::main;
