//! `attach-gateway explain REQUEST_ID`

use crate::decisions;
use anyhow::bail;
use std::{io::Write, path::Path};

/// Says which check refused the request, or that there is no such refusal.
pub(super) fn run(state: &Path, request_id: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(line) = decisions::find(state, request_id)? else {
        bail!(
            "no refusal with the id {request_id} in {}; a request that was served is shown by \
             `attach-gateway usage --events --request-id {request_id}`",
            state.display()
        );
    };
    let decision: serde_json::Value = serde_json::from_slice(line.as_ref())?;
    let members = decision.as_object().into_iter().flatten();
    for (name, value) in members.filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{:<16}{text}", name.replace('_', " "))?;
    }
    Ok(())
}
