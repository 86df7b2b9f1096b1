//! Tenants, their pools and stores, as they are on record.

use attach_proto::{
    bundle::{Durability, QuotaOutage, Tenant},
    did::DidPolicy,
    id::{PoolId, QuotaStoreId, TenantId},
};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct TenantRecord {
    pub tenant: Tenant,
    pub created_at: Timestamp,
}

/// What is to change of a tenant; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    pub name: Option<String>,
    pub on_quota_outage: Option<QuotaOutage>,
    pub durability: Option<Durability>,
    /// `Some(None)`: no DID calls any more.
    pub did: Option<Option<DidPolicy>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PoolRecord {
    pub id: PoolId,
    pub name: String,
    /// Of the last change that its agents were to hear of.
    pub revision: i64,
    pub created_at: Timestamp,
}

/// A tenant that a pool serves, or served.
#[derive(Debug, Clone, PartialEq)]
pub struct Membership {
    pub tenant: TenantId,
    pub pool: PoolId,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
}

/// Without its address, which may hold a password.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaStoreRecord {
    pub id: QuotaStoreId,
    pub kind: StoreKind,
    pub call_budget: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    Local,
    Redis,
}

/// What was done, as the audit trail has it.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    pub n: i64,
    pub at: Timestamp,
    pub tenant: Option<String>,
    pub actor_kind: String,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub detail: Value,
}
