//! `attach-gateway usage`: what the spools of a state directory hold, while the gateway writes on.

use super::{
    directory::{self, DirectoryError, Found},
    read,
    rollup::Tally,
    since::Since,
    store::StoreError,
    sums::{self, By, Line, Sums},
    table::{Align, Table},
};
use attach_proto::v1;
use jiff::Timestamp;
use prost::Message as _;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
};

/// Show how much was used, by user and model.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UsageArgs {
    /// Directory where the gateway keeps its state
    #[arg(long, value_name = "DIR", default_value = ".attach")]
    pub(crate) state: PathBuf,
    /// Only requests admitted since then: 24h, 7d, a day as 2026-11-01, or an RFC 3339 time (days are in UTC)
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// What to sum by
    #[arg(long, value_delimiter = ',', value_name = "WHAT", default_value = "user,model")]
    pub(crate) by: Vec<By>,
    /// Print each event instead of sums, one JSON object a line
    #[arg(long)]
    pub(crate) events: bool,
    /// Print only the events of this request
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// What the other spools hold has been written.
    #[error("not all usage could be read:{}", lines(.0))]
    Unreadable(Vec<StoreError>),
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    rows: &'a [Line],
    total: Sums,
    undecodable_events: u64,
    unreadable: Vec<String>,
}

/// Writes the usage that the arguments ask for.
///
/// # Errors
///
/// A spool that cannot be read is named in the error, after the others have been written.
pub(crate) fn run(args: &UsageArgs, now: Timestamp, out: &mut dyn Write) -> Result<(), UsageError> {
    let spools = directory::list(&args.state)?;
    let since = args.since.map(|since| since.resolve(now));
    let result = if args.events || args.request_id.is_some() {
        print_events(args, &spools, since, out)
    } else {
        print_sums(args, &spools, since, out)
    };
    match result {
        // `usage | head` has seen enough.
        Err(UsageError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn print_sums(
    args: &UsageArgs,
    spools: &[Found],
    since: Option<Timestamp>,
    out: &mut dyn Write,
) -> Result<(), UsageError> {
    let mut tally = Tally::default();
    let mut unreadable = Vec::new();
    for spool in spools {
        match read::tally(spool, since) {
            Ok(of_spool) => tally.merge(of_spool),
            Err(error) => unreadable.push(error),
        }
    }
    let undecodable = tally.undecodable;
    let lines = sums::group(tally, &args.by);
    if args.json {
        let total = sums::total(&lines);
        let unreadable = unreadable.iter().map(StoreError::to_string).collect();
        let answer = Answer { since, rows: &lines, total, undecodable_events: undecodable, unreadable };
        serde_json::to_writer(&mut *out, &answer).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print_table(args, &lines, since, out)?;
        if undecodable > 0 {
            writeln!(out, "\n{undecodable} events could not be understood and are not counted.")?;
        }
    }
    out.flush()?;
    if unreadable.is_empty() { Ok(()) } else { Err(UsageError::Unreadable(unreadable)) }
}

fn print_events(
    args: &UsageArgs,
    spools: &[Found],
    since: Option<Timestamp>,
    out: &mut dyn Write,
) -> Result<(), UsageError> {
    let mut unreadable = Vec::new();
    for spool in spools {
        let mut store = match read::open(spool) {
            Ok(Some(store)) => store,
            Ok(None) => continue,
            Err(error) => {
                unreadable.push(error);
                continue;
            }
        };
        let mut after = 0;
        loop {
            let page = match read::page(&mut store, after, since) {
                Ok(page) => page,
                Err(error) => {
                    unreadable.push(error);
                    break;
                }
            };
            let Some((last, _)) = page.last() else { break };
            after = *last;
            print_page(args, &page, out)?;
        }
    }
    out.flush()?;
    if unreadable.is_empty() { Ok(()) } else { Err(UsageError::Unreadable(unreadable)) }
}

fn print_page(args: &UsageArgs, page: &[(i64, Vec<u8>)], out: &mut dyn Write) -> io::Result<()> {
    for event in page.iter().filter_map(|(_, body)| v1::UsageEvent::decode(&**body).ok()) {
        if args.request_id.as_ref().is_none_or(|id| *id == event.request_id) {
            serde_json::to_writer(&mut *out, &event)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

fn print_table(
    args: &UsageArgs,
    lines: &[Line],
    since: Option<Timestamp>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if lines.is_empty() {
        return match since {
            Some(since) => writeln!(out, "no usage recorded in {} since {since}", args.state.display()),
            None => writeln!(out, "no usage recorded yet in {}", args.state.display()),
        };
    }
    let users = || lines.iter().filter_map(|line| line.user.as_ref());
    let show_issuer = users().map(|user| &user.issuer).collect::<BTreeSet<_>>().len() > 1;
    let by = |what| args.by.contains(&what);
    let optional = [
        (by(By::Day), "DAY"),
        (by(By::Tenant), "TENANT"),
        (by(By::User), "USER"),
        (by(By::User), "KIND"),
        (show_issuer, "ISSUER"),
        (by(By::Model), "MODEL"),
    ];
    let labels = optional.iter().filter(|(shown, _)| *shown).map(|(_, title)| (*title, Align::Left));
    let numbers =
        ["REQUESTS", "INPUT TOKENS", "OUTPUT TOKENS", "TOTAL TOKENS"].map(|title| (title, Align::Right));
    let mut table = Table::new(labels.clone().chain(numbers).collect());
    for line in lines {
        let user = line.user.as_ref();
        let issuer = user.filter(|_| show_issuer).map(|user| user.issuer.clone());
        let labels = [
            line.day.clone(),
            line.tenant.clone(),
            user.map(|user| user.user.clone()),
            user.map(|user| user.user_kind.to_owned()),
            issuer,
            line.model.clone(),
        ];
        table.row(labels.into_iter().flatten().chain(line.sums.cells()));
    }
    let total = sums::total(lines);
    if lines.len() > 1 {
        let mut labels: Vec<String> = labels.map(|_| String::new()).collect();
        if let Some(first) = labels.first_mut() {
            "total".clone_into(first);
        }
        table.row(labels.into_iter().chain(total.cells()));
    }
    table.write(out)?;
    if total.estimated_tokens > 0 {
        writeln!(
            out,
            "\n~ contains {} tokens that the gateway estimated, because the engine did not report them.",
            total.estimated_tokens
        )?;
    }
    Ok(())
}

fn lines(errors: &[StoreError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}
