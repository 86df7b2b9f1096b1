//! Agents, and what they said of themselves last.

use attach_proto::id::{AgentId, PoolId};
use jiff::Timestamp;

/// One that the control plane heard of within this time is online: three heartbeats of ten seconds, of which two may be lost.
pub const ONLINE_WITHIN_SECONDS: i64 = 30;

#[derive(Debug, Clone, PartialEq)]
pub struct AgentRecord {
    pub id: AgentId,
    pub pool: PoolId,
    /// The host's own name for itself.
    pub host: String,
    pub enrolled_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// Of the last change that its pool's agents were to hear of.
    pub pool_revision: i64,
    /// `None` until it has connected once.
    pub report: Option<AgentReport>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AgentReport {
    pub program_version: String,
    pub last_seen_at: Timestamp,
    pub is_connected: bool,
    pub applied_revision: i64,
    /// The last revision that it would not take, and why.
    pub refusal: Option<(i64, String)>,
    pub missing_features: Vec<String>,
    /// How far its clock is ahead, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    pub unacknowledged_events: i64,
    pub engines: Vec<EngineReport>,
    pub issuers: Vec<IssuerReport>,
}

/// An engine that the agent's host declares.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineReport {
    pub id: String,
    pub kind: String,
    pub models: Vec<String>,
    /// Why it does not answer.
    pub problem: Option<String>,
}

/// How it stands with an issuer's keys at an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuerReport {
    pub issuer: String,
    /// Where its keys come from, when that is not its metadata.
    pub source: Option<String>,
    pub keys: u32,
    pub skipped_keys: u32,
    pub fetched_at: Option<Timestamp>,
    /// The keys should have been renewed.
    pub is_stale: bool,
    /// Tokens of this issuer can be verified.
    pub is_usable: bool,
    /// Why its keys can't be renewed.
    pub problem: Option<String>,
}

/// How it stands with an agent, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    Revoked,
    NeverConnected,
    Offline,
    Online,
}

impl AgentRecord {
    pub fn state(&self, now: Timestamp) -> AgentState {
        if self.revoked_at.is_some() {
            return AgentState::Revoked;
        }
        match &self.report {
            None => AgentState::NeverConnected,
            Some(report) => {
                let silent = now.as_second().saturating_sub(report.last_seen_at.as_second());
                let is_online = report.is_connected && silent <= ONLINE_WITHIN_SECONDS;
                if is_online { AgentState::Online } else { AgentState::Offline }
            }
        }
    }
}

impl AgentState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::NeverConnected => "never connected",
            Self::Offline => "offline",
            Self::Online => "online",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct JoinTokenRecord {
    pub id: String,
    pub pool: PoolId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    pub agent: Option<String>,
    pub revoked_at: Option<Timestamp>,
}

/// What should not happen, and did.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmRecord {
    pub id: i64,
    pub at: Timestamp,
    pub kind: String,
    pub agent: Option<String>,
    pub detail: String,
}
