//! Usage, summed up and one by one.

use jiff::Timestamp;
use serde_json::Value;

/// The length of one bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Hour,
    Day,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    pub fn seconds(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// What is summed up: from the first moment up to and without the last, split as asked.
#[derive(Debug, Clone, Copy)]
pub struct UsageQuery {
    pub from: Timestamp,
    pub to: Timestamp,
    /// `None`: the whole time as one.
    pub step: Option<Step>,
    pub by_user: bool,
    pub by_model: bool,
}

/// One sum.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageSum {
    /// The beginning of its hour or day, in UTC.
    pub start: Option<Timestamp>,
    pub user: Option<UsageUser>,
    pub model: Option<String>,
    pub requests: i64,
    /// By kind, such as `input_tokens`, in the order of their names.
    pub quantities: Vec<(String, i64)>,
}

/// Whom usage was recorded for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageUser {
    /// `user`, `service`, `key` or `did`.
    pub kind: &'static str,
    pub issuer: String,
    pub subject: String,
}

impl UsageSum {
    pub fn quantity(&self, kind: &str) -> i64 {
        self.quantities.iter().find(|(of, _)| of == kind).map_or(0, |(_, quantity)| *quantity)
    }
}

/// One request, without its content.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    pub event_id: String,
    pub occurred_at: Timestamp,
    pub request_id: String,
    pub pool: String,
    pub agent: String,
    pub operation: String,
    pub dialect: String,
    pub model: String,
    pub stream: bool,
    pub user: UsageUser,
    pub key: String,
    /// A list of strings.
    pub groups: Value,
    pub project: String,
    pub measures: Value,
    pub outcome: &'static str,
    pub http_status: i16,
    pub duration_ms: Option<i64>,
}
