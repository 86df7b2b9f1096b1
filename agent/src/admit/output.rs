//! How much output a request may make: what is reserved for it, and what its engine is told.

use super::store::{Applied, OutputAsk};
use crate::authorize::Grant;
use attach_proto::bundle::Measure;

/// Output tokens that a stream reserves at a time, for each choice. Small enough that a stream that ends holds
/// little back, large enough that a fast stream (100 tokens a second) extends every few seconds only.
pub(crate) const STEP: u64 = 256;

/// Output tokens that a request without streaming may have when neither it nor the model says: as much as common
/// engines give by default to a chat.
const DEFAULT_OUTPUT_CAP: u64 = 4096;

/// What bounds the output of each choice, before any limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cap {
    asked: Option<u64>,
    model: Option<u64>,
}

pub(super) fn cap(grant: &Grant) -> Cap {
    let declared = grant.model().and_then(|model| model.declared.as_ref());
    Cap { asked: grant.ask().output_asked(), model: declared.and_then(|model| model.max_output_tokens) }
}

impl Cap {
    /// The model's cap, when the caller asked for more, or for nothing in particular.
    pub(super) fn of_model_if_it_binds(self) -> Option<u64> {
        self.model.filter(|&model| self.asked.is_none_or(|asked| asked > model))
    }
}

/// How much output to reserve. A stream takes one step and extends later. An answer in one piece takes all that was
/// asked for, because it can't be stopped half-way; when nothing was asked for, whatever fits, but a step at least.
/// Nobody can be granted more than the limit's whole amount, so nobody asks for more.
pub(super) fn output_ask(grant: &Grant, cap: Cap, limits: &[Applied]) -> OutputAsk {
    let ask = grant.ask();
    if !ask.generates() {
        return OutputAsk { at_least: 0, at_most: 0 };
    }
    let choices = ask.choices().max(1);
    let bound = [cap.asked, cap.model].into_iter().flatten().min();
    let wanted = bound.unwrap_or(DEFAULT_OUTPUT_CAP).saturating_mul(choices);
    let step = STEP.saturating_mul(choices).min(wanted);
    let room = limits.iter().filter(|limit| counts_output(limit.measure)).map(|limit| match limit.measure {
        Measure::TotalTokens => limit.amount.saturating_sub(ask.input_estimate()),
        Measure::OutputTokens | Measure::InputTokens | Measure::Requests => limit.amount,
    });
    let room = room.min().unwrap_or(u64::MAX).max(1);
    let (at_least, at_most) = match (ask.stream(), cap.asked) {
        (true, _) => (step, step),
        (false, Some(_)) => (wanted, wanted),
        (false, None) => (step, wanted),
    };
    OutputAsk { at_least: at_least.min(room), at_most: at_most.min(room) }
}

pub(super) fn counts_output(measure: Measure) -> bool {
    match measure {
        Measure::OutputTokens | Measure::TotalTokens => true,
        Measure::InputTokens | Measure::Requests => false,
    }
}
