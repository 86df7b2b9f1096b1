//! `attach-gateway explain REQUEST_ID`

use crate::{decisions, usage::printable};
use anyhow::bail;
use std::{io::Write, path::Path, time::Duration};

/// A refusal is written down some 50 ms after it was given; whoever asks at once shall be told all the same.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Says which check refused the request, or that there is no such refusal.
pub(super) fn run(state: &Path, request_id: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut decisions = decisions::find(state, request_id)?;
    for _ in 0..LOOKS {
        if decisions.is_empty() {
            std::thread::sleep(BETWEEN_LOOKS);
            decisions = decisions::find(state, request_id)?;
        }
    }
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
