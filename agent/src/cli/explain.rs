//! `attach-gateway explain REQUEST_ID`

use crate::{decisions, usage::printable};
use anyhow::bail;
use std::{io::Write, path::Path};

/// Says which check refused the request, or that there is no such refusal.
pub(super) fn run(state: &Path, request_id: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let decisions = decisions::find(state, request_id)?;
    if decisions.is_empty() {
        bail!(
            "no refusal with the id {request_id} in {}; a request that was served is shown by \
             `attach-gateway usage --events --request-id {request_id}`",
            state.display()
        );
    }
    for decision in &decisions {
        for (name, value) in decision.iter().filter(|(_, value)| !value.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "{:<16}{}", printable(&name.replace('_', " ")), printable(&text))?;
        }
    }
    Ok(())
}
