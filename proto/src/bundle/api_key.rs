//! API keys, as a gateway knows them.

use super::Permission;
use crate::id::{KeyId, ModelName, TenantId};
use jiff::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub tenant: TenantId,
    pub sha256: [u8; 32],
    /// The secret that this one took the place of, while both are good.
    pub previous: Option<PreviousSecret>,
    pub owner: String,
    pub groups: Vec<String>,
    /// What the key may be used for at most; what its holder may do besides is for the access rules. At least one.
    pub permissions: Vec<Permission>,
    /// Whether it may name the end user on whose behalf it calls.
    pub act_as: bool,
    /// Empty: all that the access rules grant.
    pub models: Vec<ModelName>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousSecret {
    pub sha256: [u8; 32],
    pub until: Timestamp,
}
