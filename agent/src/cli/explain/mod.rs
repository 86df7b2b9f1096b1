//! `attach-gateway explain WHAT`

mod print;

use super::DEFAULT_STATE;
use crate::{decisions, explain};
use anyhow::{Context as _, bail};
use attach_proto::question::{MAX_PASTED_BYTES, is_credential};
use clap::Args;
use serde_json::{Map, Value};
use std::{
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// A refusal is written down some 50 ms after it was given; whoever asks at once shall be told all the same.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The id of a request that was refused (from the X-Request-Id header of the answer, or from the access log); or a token,
    /// a key or a proof of a DID, with or without `Bearer` before it; or - to read it from standard input
    ///
    /// What stands on a command line is seen by every user of the host (ps) and kept by the shell: give credentials by
    /// standard input.
    #[arg(value_name = "REQUEST_ID|TOKEN|-", allow_hyphen_values = true)]
    what: String,
    /// Folder with the gateway's state
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    state: PathBuf,
    /// As JSON, a line for each answer
    #[arg(long)]
    json: bool,
}

/// Says which check refused a request, or how a credential fares at the gateway that runs on this host. What was asked about
/// is in no output and in no error: it may be a secret.
pub(super) fn run(args: &ExplainArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let ExplainArgs { what, state, json } = args;
    let read;
    let what = if what == "-" {
        read = standard_input()?;
        read.trim()
    } else {
        what.trim()
    };
    if what.is_empty() {
        bail!("nothing to explain: give a request id or a credential");
    }
    if is_credential(what) {
        let explanation = explain::ask(state, what)?;
        return if *json { print::json(&explanation, out) } else { print::explanation(&explanation, out) };
    }
    let refusals = refusals(state, what)?;
    if refusals.is_empty() {
        return explain_other(what, args, out);
    }
    for refusal in &refusals {
        if *json {
            print::json(refusal, out)?;
        } else {
            print::refusal(refusal, out)?;
        }
    }
    Ok(())
}

fn standard_input() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_PASTED_BYTES as u64 + 1).read_to_end(&mut bytes).context("standard input")?;
    if bytes.len() > MAX_PASTED_BYTES {
        bail!("standard input: more than {MAX_PASTED_BYTES} bytes, which no credential has");
    }
    String::from_utf8(bytes).ok().context("standard input: is no text")
}

fn refusals(state: &Path, request_id: &str) -> io::Result<Vec<Map<String, Value>>> {
    let mut found = decisions::find(state, request_id)?;
    for _ in 0..LOOKS {
        if found.is_empty() {
            std::thread::sleep(BETWEEN_LOOKS);
            found = decisions::find(state, request_id)?;
        }
    }
    Ok(found)
}

/// A key of another maker's form looks like an id; whether it is one, the gateway knows.
fn explain_other(what: &str, args: &ExplainArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let ExplainArgs { state, json, .. } = args;
    match explain::ask(state, what) {
        Ok(explanation) if explanation.verified && *json => print::json(&explanation, out),
        Ok(explanation) if explanation.verified => print::explanation(&explanation, out),
        Ok(_) => bail!(
            "no refusal with this id in {}, and no API key of the gateway; a request that was served is shown by \
             `attach-gateway usage --events --request-id ID`",
            state.display()
        ),
        // Whoever looks into the wrong folder finds no gateway either.
        Err(error) => Err(error).with_context(|| format!("no refusal with this id in {}", state.display())),
    }
}
