//! What can be done, a file for each: the rule, the transaction, and the audit entry within it. All doors come through
//! here; nothing else writes.

mod add_tenant_to_pool;
mod ask_gateways;
mod create_join_token;
mod create_pool;
mod create_quota_store;
mod create_tenant;
mod issue_key;
mod join_agent;
mod make_operator_token;
mod make_sign_in_link;
mod remove_access_rule;
mod remove_identity_provider;
mod remove_limit;
mod remove_model;
mod remove_tenant_from_pool;
mod renew_certificate;
mod renew_issuer_keys;
mod revoke_agent;
mod revoke_join_token;
mod revoke_key;
mod rotate_key;
mod set_access_rule;
mod set_identity_provider;
mod set_limit;
mod set_model;
mod set_routes;
mod sign_in;
mod sign_out;
mod take_usage;
mod update_tenant;
mod withdraw_issuer_keys;

#[cfg(test)]
pub(crate) mod tests;

pub use add_tenant_to_pool::add_tenant_to_pool;
pub(crate) use ask_gateways::{Asking, ask_gateways};
pub use create_join_token::{DEFAULT_LIFE as JOIN_TOKEN_LIFE, create_join_token};
pub use create_pool::create_pool;
pub use create_quota_store::create_quota_store;
pub use create_tenant::create_tenant;
pub use issue_key::{KeyLimit, MAX_KEY_LIMITS, NewKey, issue_key};
pub(crate) use join_agent::{Join, JoinError, join_agent};
pub use make_operator_token::{make_first_operator_token, make_operator_token};
pub use make_sign_in_link::make_sign_in_link;
pub use remove_access_rule::remove_access_rule;
pub use remove_identity_provider::remove_identity_provider;
pub use remove_limit::remove_limit;
pub use remove_model::remove_model;
pub use remove_tenant_from_pool::remove_tenant_from_pool;
pub(crate) use renew_certificate::{RenewError, renew_certificate};
pub(crate) use renew_issuer_keys::renew_issuer_keys;
pub use revoke_agent::revoke_agent;
pub use revoke_join_token::revoke_join_token;
pub use revoke_key::revoke_key;
pub use rotate_key::{MAX_OVERLAP, rotate_key};
pub use set_access_rule::set_access_rule;
pub use set_identity_provider::set_identity_provider;
pub use set_limit::set_limit;
pub use set_model::set_model;
pub use set_routes::{change_routes, set_routes};
pub use sign_in::sign_in;
pub use sign_out::sign_out;
pub(crate) use take_usage::{TakeError, take_usage};
pub use update_tenant::update_tenant;
pub(crate) use withdraw_issuer_keys::withdraw_issuer_keys;

use crate::{db::DbError, domain::secret::NoRandomness, seal::SealError};

/// Why an operation did not happen. Nothing of it did.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// What it is about is not there, or not this tenant's; nobody is told which.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A field cannot be what it is.
    #[error("{field} {problem}")]
    Invalid { field: &'static str, problem: &'static str },
    /// No gateway could serve by it.
    #[error(transparent)]
    Contract(#[from] attach_proto::Invalid),
    #[error("there is one already: {0}")]
    Exists(&'static str),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("the secret can't be sealed")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Db(#[from] DbError),
}
