//! Explanations for people, and for programs.

use crate::usage::printable;
use attach_proto::v1::{CheckOutcome, ExplainedCheck, Explanation};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::Write;

pub(super) fn json(answer: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(writeln!(out, "{}", serde_json::to_string(answer)?)?)
}

pub(super) fn refusal(refusal: &Map<String, Value>, out: &mut dyn Write) -> anyhow::Result<()> {
    for (name, value) in refusal.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{:<16}{}", printable(&name.replace('_', " ")), printable(&text))?;
    }
    Ok(())
}

pub(super) fn explanation(explanation: &Explanation, out: &mut dyn Write) -> anyhow::Result<()> {
    let Explanation { kind, accepted, checks, caller, verified, at: _, bundle_revision } = explanation;
    let kind = if kind.is_empty() { "no credential".to_owned() } else { printable(kind) };
    let verdict = if *accepted { "taken" } else { "REFUSED" };
    writeln!(out, "{kind}: {verdict}, by revision {bundle_revision} of the configuration\n")?;
    for made in checks {
        check(made, out)?;
    }
    if !accepted && !verified {
        writeln!(out, "\nIt was not verified: what is quoted of it is its own word.")?;
    }
    if !caller.is_empty() {
        writeln!(out)?;
    }
    for fact in caller {
        for (index, value) in fact.values.iter().enumerate() {
            let name = if index == 0 { printable(&fact.name) } else { String::new() };
            writeln!(out, "{name:<20}{}", printable(value))?;
        }
    }
    Ok(())
}

fn check(check: &ExplainedCheck, out: &mut dyn Write) -> anyhow::Result<()> {
    let mark = match check.outcome() {
        CheckOutcome::Passed => "pass",
        CheckOutcome::Failed => "FAIL",
        CheckOutcome::AlsoFails => "would also fail",
        CheckOutcome::NotReached => "not reached",
        CheckOutcome::NotApplicable => "does not apply",
        CheckOutcome::Unspecified => "?",
    };
    writeln!(out, "{mark:<16}{}", printable(&check.title))?;
    let change = (!check.advice.is_empty()).then(|| format!("To change: {}", check.advice));
    for line in [Some(check.reason.clone()), change].into_iter().flatten().filter(|line| !line.is_empty()) {
        writeln!(out, "{:<16}{}", "", printable(&line))?;
    }
    Ok(())
}
