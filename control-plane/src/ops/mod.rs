//! What can be done, a file for each: the rule, the transaction, and the audit entry within it. All doors come through
//! here; nothing else writes.

mod create_join_token;
mod create_pool;
mod create_tenant;
mod issue_key;
mod join_agent;
mod remove_limit;
mod renew_certificate;
mod revoke_agent;
mod revoke_join_token;
mod revoke_key;
mod set_limit;
mod take_usage;

#[cfg(test)]
pub(crate) mod tests;

pub use create_join_token::{DEFAULT_LIFE as JOIN_TOKEN_LIFE, create_join_token};
pub use create_pool::create_pool;
pub use create_tenant::create_tenant;
pub use issue_key::{NewKey, issue_key};
pub(crate) use join_agent::{Join, JoinError, join_agent};
pub use remove_limit::remove_limit;
pub(crate) use renew_certificate::{RenewError, renew_certificate};
pub use revoke_agent::revoke_agent;
pub use revoke_join_token::revoke_join_token;
pub use revoke_key::revoke_key;
pub use set_limit::set_limit;
pub(crate) use take_usage::{TakeError, take_usage};

use crate::{db::DbError, domain::secret::NoRandomness};

/// Why an operation did not happen. Nothing of it did.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// What it is about is not there, or not this tenant's; nobody is told which.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A field cannot be what it is.
    #[error("{field} {problem}")]
    Invalid { field: &'static str, problem: &'static str },
    #[error("there is one already: {0}")]
    Exists(&'static str),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(transparent)]
    Db(#[from] DbError),
}
