//! The way to the control plane: where it is, one connection to it, why it refuses, and how things stand with it.
//!
//! TLS and HTTP/2 are the same libraries as everywhere else in the gateway; of tonic only the framing of calls is used.

mod address;
mod connection;
mod refusal;
mod standing;

pub(crate) use address::{Address, InvalidAddress};
pub(crate) use connection::{ConnectError, Connection, connect, tls_builder};
pub(crate) use refusal::{is_revoked, reason, said};
pub(crate) use standing::{Standing, State};

use std::time::Duration;

/// Longest message either way. The contract's chunks are at most 1 MiB of resources, and a batch of usage 1 MiB of
/// events; this is gRPC's own default, with room for what stands around them.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// How long one call may take, from sending it to its answer. A batch of usage is a transaction of a thousand rows; a
/// database that is failing over takes some ten seconds.
pub(crate) const CALL: Duration = Duration::from_secs(30);
