//! Usage events: made durable before the end of an answer leaves, and read back for `attach-gateway usage`.
//!
//! A core pushes encoded events into its [`CoreQueue`]; the one writer thread ([`SpoolWriter`]) commits all that has
//! gathered in one transaction and then tells each core, by its [`CoreReports`], how far it came. Each process start
//! has its own directory under `<state>/spool`, so no two processes write one file. Reading needs nobody's help: a
//! second process opens the files read-only while the gateway runs. Where a control plane takes the events, `outbox` hands
//! them out in order and keeps how far it came.

mod command;
mod destination;
mod directory;
mod fields;
mod orphans;
mod outbox;
mod read;
mod rollup;
mod since;
mod spool;
mod store;
mod summand;
mod sums;
mod table;
mod writer;

pub(crate) use command::{UsageArgs, run};
pub(crate) use destination::{AuthorityMark, Destination};
pub(crate) use directory::Found;
pub(crate) use outbox::{Batch, Outbox, OutboxError, Outgoing};
pub(crate) use spool::{CoreQueue, CoreReports, Entry, Report, SpoolFault, SpoolHandle};
pub(crate) use table::printable;
pub(crate) use writer::SpoolWriter;

#[cfg(test)]
mod tests;
