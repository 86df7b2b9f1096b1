//! What was used, grouped as a person asked for it.

use super::rollup::{Amount, DAY_MS, Summed, Tally};
use attach_proto::{usage::MeasuredQuantity, v1};
use clap::ValueEnum;
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use std::{cmp::Reverse, collections::BTreeMap};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum By {
    Day,
    Tenant,
    User,
    Model,
}

/// One line of the answer.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    #[serde(flatten)]
    pub(super) user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    #[serde(flatten)]
    pub(super) sums: Sums,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct User {
    pub(super) user: String,
    pub(super) user_kind: &'static str,
    pub(super) issuer: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sums {
    pub(super) requests: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Part of the input tokens.
    pub(super) cached_input_tokens: u64,
    pub(super) total_tokens: u64,
    /// Part of the total that the gateway counted itself.
    pub(super) estimated_tokens: u64,
    pub(super) estimated_input: bool,
    pub(super) estimated_output: bool,
}

/// What of an [`Owner`](super::rollup::Owner) the answer is grouped by; `None` where it is not.
type Group = (Option<i64>, Option<String>, Option<User>, Option<String>);

/// The greatest users first.
pub(super) fn group(tally: Tally, by: &[By]) -> Vec<Line> {
    let mut groups: BTreeMap<Group, Sums> = BTreeMap::new();
    for (owner, amounts) in tally.amounts {
        let user =
            || User { user: owner.subject, user_kind: user_kind(owner.principal_kind), issuer: owner.issuer };
        let group = (
            by.contains(&By::Day).then_some(owner.day),
            by.contains(&By::Tenant).then_some(owner.tenant),
            by.contains(&By::User).then(user),
            by.contains(&By::Model).then_some(owner.model),
        );
        let sum = groups.entry(group).or_default();
        for (summed, amount) in amounts {
            *sum = sum.plus(Sums::of(&summed, amount));
        }
    }
    let mut lines: Vec<Line> = groups
        .into_iter()
        .map(|((day, tenant, user, model), sums)| Line { day: day.map(day_name), tenant, user, model, sums })
        .collect();
    if !by.contains(&By::Day) {
        lines.sort_by_key(|line| Reverse((line.sums.total_tokens, line.sums.requests)));
    }
    lines
}

/// Over all lines.
pub(super) fn total(lines: &[Line]) -> Sums {
    lines.iter().fold(Sums::default(), |sum, line| sum.plus(line.sums))
}

fn user_kind(number: i32) -> &'static str {
    match v1::PrincipalKind::try_from(number) {
        Ok(v1::PrincipalKind::User) => "user",
        Ok(v1::PrincipalKind::Service) => "service",
        Ok(v1::PrincipalKind::Key) => "key",
        Ok(v1::PrincipalKind::Did) => "did",
        Ok(v1::PrincipalKind::Unspecified) | Err(_) => "unknown",
    }
}

fn day_name(day: i64) -> String {
    Timestamp::from_millisecond(day.saturating_mul(DAY_MS))
        .map_or_else(|_| day.to_string(), |at| at.to_zoned(TimeZone::UTC).date().to_string())
}

impl Sums {
    /// Kinds that are neither input nor output tokens are part of one of the two, or of none, and not in the total.
    fn of(summed: &Summed, amount: Amount) -> Self {
        let mut sums = Self::default();
        let quantity = amount.quantity;
        let estimated = summed.source == i32::from(v1::MeasureSource::Estimated);
        match &*summed.kind {
            "" => sums.requests = amount.requests,
            MeasuredQuantity::INPUT_TOKENS => {
                (sums.input_tokens, sums.total_tokens, sums.estimated_input) =
                    (quantity, quantity, estimated);
            }
            MeasuredQuantity::OUTPUT_TOKENS => {
                (sums.output_tokens, sums.total_tokens, sums.estimated_output) =
                    (quantity, quantity, estimated);
            }
            MeasuredQuantity::CACHED_INPUT_TOKENS => sums.cached_input_tokens = quantity,
            _ => {}
        }
        if estimated {
            sums.estimated_tokens = sums.total_tokens;
        }
        sums
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
            estimated_tokens: self.estimated_tokens.saturating_add(other.estimated_tokens),
            estimated_input: self.estimated_input || other.estimated_input,
            estimated_output: self.estimated_output || other.estimated_output,
        }
    }

    pub(super) fn cells(self) -> [String; 4] {
        let mark = |quantity: u64, estimated| format!("{}{quantity}", if estimated { "~" } else { "" });
        [
            self.requests.to_string(),
            mark(self.input_tokens, self.estimated_input),
            mark(self.output_tokens, self.estimated_output),
            mark(self.total_tokens, self.estimated_input || self.estimated_output),
        ]
    }
}
