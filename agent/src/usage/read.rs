//! `attach-gateway usage`: what the spools of a state directory hold, while the gateway writes on.

use super::{
    directory::{self, DirectoryError, Found},
    rollup::{self, Amount, DAY_MS, Key, Tally},
    store::{self, Store, StoreError, meta},
    table::{Align, Table},
};
use attach_proto::{usage::MeasuredQuantity, v1};
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use prost::Message as _;
use rusqlite::Connection;
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
};

/// Events read at a time for `--events`, so that a slow terminal does not hold back the gateway's log.
const EVENTS_PER_PAGE: i64 = 1_000;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum By {
    Day,
    Tenant,
    User,
    Model,
}

/// A point in time, as a person says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(SignedDuration),
    At(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be like 24h, 7d, 2026-11-01 or 2026-11-01T08:00:00Z")]
pub(crate) struct InvalidSince;

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

/// One line of the answer.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(flatten)]
    user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct User {
    user: String,
    user_kind: &'static str,
    issuer: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Sums {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// Part of the input tokens.
    cached_input_tokens: u64,
    total_tokens: u64,
    /// Part of the total that the gateway counted itself.
    estimated_tokens: u64,
    estimated_input: bool,
    estimated_output: bool,
}

/// What of a [`Key`] the answer is grouped by; `None` where it is not.
type Group = (Option<i64>, Option<String>, Option<User>, Option<String>);

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
        let mut of_spool = Tally::default();
        match open(spool).and_then(|store| match store {
            Some(mut store) => store.view(|view| read_sums(view, since, &mut of_spool)),
            None => Ok(()),
        }) {
            Ok(()) => merge(&mut tally, of_spool),
            Err(_) if !spool.path.exists() => {}
            Err(error) => unreadable.push(error),
        }
    }
    let undecodable = tally.undecodable;
    let lines = group(tally, &args.by);
    if args.json {
        let total = lines.iter().fold(Sums::default(), |sum, line| sum.plus(line.sums));
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
    let since_ms = since.map_or(i64::MIN, Timestamp::as_millisecond);
    let mut unreadable = Vec::new();
    for spool in spools {
        let mut store = match open(spool) {
            Ok(Some(store)) => store,
            Ok(None) => continue,
            Err(_) if !spool.path.exists() => continue,
            Err(error) => {
                unreadable.push(error);
                continue;
            }
        };
        let mut after = 0;
        loop {
            let page = match store.view(|view| read_page(view, after, since_ms)) {
                Ok(page) => page,
                Err(error) => {
                    unreadable.push(error);
                    break;
                }
            };
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for event in page.iter().filter_map(|(_, body)| v1::UsageEvent::decode(&**body).ok()) {
                if args.request_id.as_ref().is_none_or(|id| *id == event.request_id) {
                    serde_json::to_writer(&mut *out, &event).map_err(io::Error::from)?;
                    writeln!(out)?;
                }
            }
        }
    }
    out.flush()?;
    if unreadable.is_empty() { Ok(()) } else { Err(UsageError::Unreadable(unreadable)) }
}

/// `None` for a spool that its process is just making, or never came to use.
fn open(spool: &Found) -> Result<Option<Store>, StoreError> {
    if spool.path.join(store::FILE_NAME).exists() { Store::open_to_read(&spool.path) } else { Ok(None) }
}

fn read_page(view: &Connection, after: i64, since_ms: i64) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    view.prepare_cached("select seq, body from ev where seq > ?1 and at >= ?2 order by seq limit ?3")?
        .query_map([after, since_ms, EVENTS_PER_PAGE], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Sums of the days after `since`, the events of its own day from then on, and the events that are in no sum yet.
fn read_sums(view: &Connection, since: Option<Timestamp>, tally: &mut Tally) -> rusqlite::Result<()> {
    let since_ms = since.map_or(i64::MIN, Timestamp::as_millisecond);
    let since_day = since_ms.div_euclid(DAY_MS);
    let rolled = meta(view, "rolled")?.unwrap_or_default();
    tally.undecodable = meta(view, "undecodable")?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);

    // The first day is summed from its events when it is cut, unless it is so old that only its sums are left.
    let span = view
        .prepare("select first_seq, min(last_seq, ?2) from day_span where day = ?1")?
        .query_map([since_day, rolled], |row| Ok((row.get(0)?, row.get(1)?)))?
        .next()
        .transpose()?
        .filter(|_| since_ms.rem_euclid(DAY_MS) != 0);
    let first_whole_day = if span.is_some() { since_day + 1 } else { since_day };

    let mut select = view.prepare("select * from usage_day where day >= ?1")?;
    let mut rows = select.query([first_whole_day])?;
    while let Some(row) = rows.next()? {
        tally.add(rollup::key(row)?, rollup::amount(row)?);
    }
    if let Some((first, last)) = span {
        let end = (since_day + 1) * DAY_MS;
        add_events(view, (first, last), (since_ms, end), &mut Tally::default(), tally)?;
    }
    let mut fresh = Tally::default();
    add_events(view, (rolled + 1, i64::MAX), (since_ms, i64::MAX), &mut fresh, tally)?;
    tally.undecodable += fresh.undecodable;
    Ok(())
}

fn add_events(
    view: &Connection,
    (first, last): (i64, i64),
    (from_ms, until_ms): (i64, i64),
    events: &mut Tally,
    tally: &mut Tally,
) -> rusqlite::Result<()> {
    let mut select = view.prepare_cached(
        "select at, body from ev where seq between ?1 and ?2 and at >= ?3 and at < ?4 order by seq",
    )?;
    let mut rows = select.query([first, last, from_ms, until_ms])?;
    while let Some(row) = rows.next()? {
        events.add_body(row.get(0)?, row.get_ref(1)?.as_blob()?);
    }
    for (key, amount) in std::mem::take(&mut events.amounts) {
        tally.add(key, amount);
    }
    Ok(())
}

fn merge(tally: &mut Tally, other: Tally) {
    tally.undecodable += other.undecodable;
    for (key, amount) in other.amounts {
        tally.add(key, amount);
    }
}

/// The greatest users first.
fn group(tally: Tally, by: &[By]) -> Vec<Line> {
    let mut groups: BTreeMap<Group, Sums> = BTreeMap::new();
    for (key, amount) in tally.amounts {
        let sums = Sums::of(&key, amount);
        let user =
            || User { user: key.subject, user_kind: user_kind(key.principal_kind), issuer: key.issuer };
        let group = (
            by.contains(&By::Day).then_some(key.day),
            by.contains(&By::Tenant).then_some(key.tenant),
            by.contains(&By::User).then(user),
            by.contains(&By::Model).then_some(key.model),
        );
        let sum = groups.entry(group).or_default();
        *sum = sum.plus(sums);
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
    let total = lines.iter().fold(Sums::default(), |sum, line| sum.plus(line.sums));
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

fn lines(errors: &[StoreError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

// === impl Since ===

impl Since {
    fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(Timestamp::MIN),
            Self::At(at) => at,
        }
    }
}

impl FromStr for Since {
    type Err = InvalidSince;

    fn from_str(text: &str) -> Result<Self, InvalidSince> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        // A time without a zone would be read as its day.
        if !text.contains('T')
            && let Ok(day) = text.parse::<civil::Date>()
        {
            let midnight = day.to_zoned(TimeZone::UTC).map_err(|_| InvalidSince)?;
            return Ok(Self::At(midnight.timestamp()));
        }
        let seconds_per_unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            _ => return Err(InvalidSince),
        };
        let number = text.get(..text.len() - 1).and_then(|number| number.parse::<u32>().ok());
        let seconds = i64::from(number.ok_or(InvalidSince)?) * seconds_per_unit;
        Ok(Self::Ago(SignedDuration::from_secs(seconds)))
    }
}

// === impl Sums ===

impl Sums {
    /// Kinds that are neither input nor output tokens are part of one of the two, or of none, and not in the total.
    fn of(key: &Key, amount: Amount) -> Self {
        let mut sums = Self::default();
        let quantity = amount.quantity;
        let estimated = key.source == i32::from(v1::MeasureSource::Estimated);
        match &*key.kind {
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

    fn cells(self) -> [String; 4] {
        let mark = |quantity: u64, estimated| format!("{}{quantity}", if estimated { "~" } else { "" });
        [
            self.requests.to_string(),
            mark(self.input_tokens, self.estimated_input),
            mark(self.output_tokens, self.estimated_output),
            mark(self.total_tokens, self.estimated_input || self.estimated_output),
        ]
    }
}
