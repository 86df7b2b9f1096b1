//! What `attach-gateway usage` shows.

use super::*;
use crate::usage::{
    command::UsageError,
    directory::SpoolDirectory,
    rollup::{Tally, amount, owner, roll_up, summed},
    store::Store,
};
use clap::Parser;
use std::fs;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    usage: UsageArgs,
}

fn text(state: &Path, arguments: &[&str]) -> (String, Result<(), UsageError>) {
    let state = state.to_str().unwrap();
    let arguments = ["usage", "--state", state].into_iter().chain(arguments.iter().copied());
    let command = Command::try_parse_from(arguments).unwrap();
    let mut out = Vec::new();
    let result = run(&command.usage, at(NOON), &mut out);
    (String::from_utf8(out).unwrap().replace(state, "DIR"), result)
}

pub(super) fn answer(state: &Path, arguments: &[&str]) -> serde_json::Value {
    let (text, result) = text(state, arguments);
    result.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Two users on two models over three days, a key of the same name, and a count that was estimated.
fn history() -> Vec<UsageEvent> {
    let mut events = Vec::new();
    for (day, count) in [("2026-11-03", 4), ("2026-11-04", 3), ("2026-11-05", 2)] {
        for hour in 0..count {
            let number = events.len() as u64;
            events.push(event(number, "ada", &format!("{day}T0{}:30:00Z", hour * 2)));
        }
    }
    let mut large = event(100, "bob", "2026-11-04T09:00:00Z");
    large.model = Some("llama3:8b".parse().unwrap());
    large.measures[0].quantity = 123_456;
    large.measures[1] = MeasuredQuantity {
        kind: MeasuredQuantity::OUTPUT_TOKENS.into(),
        quantity: 789,
        source: MeasureSource::Estimated,
    };
    events.push(large);
    let mut by_key = event(101, "ada", "2026-11-05T10:00:00Z");
    by_key.principal.kind = PrincipalKind::Key;
    by_key.principal.issuer = None;
    by_key.measures.clear();
    by_key.outcome = Outcome::EngineError;
    events.push(by_key);
    events
}

fn spool_of(state: &Path, events: &[UsageEvent]) -> (SpoolDirectory, Store) {
    let directory = SpoolDirectory::claim(state, at(NOON)).unwrap();
    let mut store = Store::create(directory.path()).unwrap();
    let entries: Vec<Entry> = events.iter().map(entry).collect();
    store.append(0, entries.iter()).unwrap();
    (directory, store)
}

#[test]
fn the_table_names_each_user_and_model_and_marks_what_was_estimated() {
    let state = tempfile::tempdir().unwrap();
    let _spool = spool_of(state.path(), &history());
    let (table, result) = text(state.path(), &[]);
    result.unwrap();
    let expected = "\
USER   KIND  ISSUER                  MODEL      REQUESTS  INPUT TOKENS  OUTPUT TOKENS  TOTAL TOKENS
bob    user  https://issuer.example  llama3:8b         1        123456           ~789       ~124245
ada    user  https://issuer.example  tiny              9            90             45           135
ada    key                           tiny              1             0              0             0
total                                                 11        123546           ~834       ~124380

~ contains 789 tokens that the gateway estimated, because the engine did not report them.
";
    assert_eq!(table, expected);

    let (table, _) = text(state.path(), &["--by", "day"]);
    let expected = "\
DAY         REQUESTS  INPUT TOKENS  OUTPUT TOKENS  TOTAL TOKENS
2026-11-03         4            40             20            60
2026-11-04         4        123486           ~804       ~124290
2026-11-05         3            20             10            30
total             11        123546           ~834       ~124380

~ contains 789 tokens that the gateway estimated, because the engine did not report them.
";
    assert_eq!(table, expected);
}

#[test]
fn the_sums_are_the_same_whether_events_were_rolled_up_or_not() {
    let state = tempfile::tempdir().unwrap();
    let (_spool, mut store) = spool_of(state.path(), &history());
    let whens =
        ["1w", "24h", "12h", "2026-11-04", "2026-11-04T05:00:00Z", "2026-11-05T10:00:00Z", "2027-01-01"];
    let all = |state: &Path| {
        let mut answers = vec![answer(state, &["--json"])];
        answers.extend(whens.map(|when| answer(state, &["--json", "--since", when])));
        answers.push(answer(state, &["--json", "--by", "day,tenant,user,model"]));
        answers
    };
    let scanned = all(state.path());
    let requests: Vec<_> =
        scanned.iter().map(|answer| answer["total"]["requests"].as_u64().unwrap()).collect();
    assert_eq!(requests, [11, 11, 3, 3, 7, 4, 1, 0, 11]);
    assert_eq!(roll_up(&mut store).unwrap(), 11);
    assert_eq!(all(state.path()), scanned);
    // And with some events in the sums and some behind them.
    let more: Vec<Entry> =
        [event(200, "ada", "2026-11-04T06:00:00Z"), event(201, "eve", NOON)].iter().map(entry).collect();
    store.append(11, more.iter()).unwrap();
    let mixed = all(state.path());
    assert_eq!(mixed[0]["total"]["requests"], 13);
    assert_eq!(mixed[5]["total"]["requests"], 6, "2026-11-04T05:00:00Z");
    roll_up(&mut store).unwrap();
    assert_eq!(all(state.path()), mixed);
}

#[test]
fn roll_ups_equal_a_scan_of_all_events() {
    let state = tempfile::tempdir().unwrap();
    let events: Vec<UsageEvent> = (0..2_500)
        .map(|number| {
            let day = 1 + number % 3;
            let mut event =
                event(number, &format!("user-{}", number % 17), &format!("2026-11-0{day}T08:00:00Z"));
            event.measures[0].quantity = number;
            event
        })
        .collect();
    let (_spool, mut store) = spool_of(state.path(), &events);
    let mut scan = Tally::default();
    for event in &events {
        let entry = entry(event);
        scan.add_body(entry.at_ms, &entry.body);
    }
    let marks: Vec<i64> = (0..4).map(|_| roll_up(&mut store).unwrap()).collect();
    assert_eq!(marks, [1_000, 2_000, 2_500, 2_500]);
    let rows: Vec<_> = store
        .view(|view| {
            view.prepare("select * from usage_day")?
                .query_map([], |row| Ok((owner(row)?, summed(row)?, amount(row)?)))?
                .collect()
        })
        .unwrap();
    assert_eq!(rows.len(), 3 * 17 * 3);
    let mut expected: Vec<_> = scan
        .amounts
        .into_iter()
        .flat_map(|(owner, amounts)| {
            amounts.into_iter().map(move |(summed, amount)| (owner.clone(), summed, amount))
        })
        .collect();
    expected.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    assert_eq!(rows, expected);
}

#[test]
fn a_sum_stops_at_the_greatest_number_instead_of_turning_into_a_fraction() {
    let state = tempfile::tempdir().unwrap();
    let mut greedy = event(1, "ada", NOON);
    greedy.measures[0].quantity = u64::MAX;
    let (_spool, mut store) = spool_of(state.path(), &[greedy.clone()]);
    roll_up(&mut store).unwrap();
    store.append(1, [entry(&greedy)].iter()).unwrap();
    roll_up(&mut store).unwrap();
    assert_eq!(answer(state.path(), &["--json"])["total"]["input_tokens"], i64::MAX);
}

#[test]
fn an_event_that_cannot_be_decoded_is_counted_apart_and_does_not_stop_the_rest() {
    let state = tempfile::tempdir().unwrap();
    let (_spool, mut store) = spool_of(state.path(), &history());
    store.append(11, [Entry { at_ms: 0, body: vec![0xff; 9] }].iter()).unwrap();
    for _ in 0..2 {
        let answer = answer(state.path(), &["--json"]);
        assert_eq!((&answer["undecodable_events"], &answer["total"]["requests"]), (&1.into(), &11.into()));
        roll_up(&mut store).unwrap();
    }
}

#[test]
fn an_empty_state_is_said_in_words() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(text(state.path(), &[]).0, "no usage recorded yet in DIR\n");
    assert_eq!(answer(state.path(), &["--json"])["rows"], serde_json::json!([]));
    let _spool = spool_of(state.path(), &[]);
    assert_eq!(text(state.path(), &[]).0, "no usage recorded yet in DIR\n");
    assert_eq!(text(state.path(), &["--events"]).0, "");
    // A process that was killed before it had made its file.
    SpoolDirectory::claim(state.path(), at(NOON)).unwrap();
    let (said, result) = text(state.path(), &["--since", "1h"]);
    result.unwrap();
    assert_eq!(said, "no usage recorded in DIR since 2026-11-05T11:00:00Z\n");
}

#[test]
fn single_events_are_printed_as_they_were_stored_in_order_and_by_request() {
    let state = tempfile::tempdir().unwrap();
    let events = history();
    let _spool = spool_of(state.path(), &events);
    let parse = |text: &str| -> Vec<UsageEvent> {
        text.lines()
            .map(|line| serde_json::from_str::<v1::UsageEvent>(line).unwrap().try_into().unwrap())
            .collect()
    };
    assert_eq!(parse(&text(state.path(), &["--events", "--json"]).0), events);
    assert_eq!(parse(&text(state.path(), &["--request-id", "req-100"]).0), [events[9].clone()]);
    assert_eq!(parse(&text(state.path(), &["--events", "--since", "4h"]).0), [events[10].clone()]);
    assert_eq!(text(state.path(), &["--request-id", "req-10"]).0, "");
}

#[test]
fn a_spool_that_cannot_be_read_is_named_and_the_others_are_shown() {
    let state = tempfile::tempdir().unwrap();
    let (_good, _store) = spool_of(state.path(), &history());
    let (newer, store) = spool_of(state.path(), &history());
    drop(store);
    Connection::open(newer.path().join("spool.db"))
        .and_then(|file| file.pragma_update(None, "user_version", 7))
        .unwrap();
    let (broken, store) = spool_of(state.path(), &history());
    drop(store);
    fs::write(broken.path().join("spool.db"), "this is not a database, whatever its name says").unwrap();
    let (foreign, store) = spool_of(state.path(), &history());
    drop(store);
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(foreign.path().join(format!("spool.db{suffix}"))).unwrap();
    }
    Connection::open(foreign.path().join("spool.db"))
        .and_then(|file| file.execute_batch("create table cats(name text)"))
        .unwrap();

    for arguments in [&[][..], &["--json"], &["--events"]] {
        let (shown, result) = text(state.path(), arguments);
        assert!(shown.contains("bob"), "{shown}");
        let error = result.unwrap_err().to_string();
        let named = |directory: &SpoolDirectory, what: &str| {
            let path = directory.path().join("spool.db").display().to_string();
            let line = error.lines().find(|line| line.contains(&path)).unwrap_or_default();
            assert!(line.contains(what), "{what}: {error}");
        };
        named(&newer, "was written by a newer version (schema 7");
        named(&broken, "file is not a database");
        named(&foreign, "is not a usage spool");
        assert_eq!(error.lines().count(), 4, "{error}");
    }
}

#[test]
fn a_time_that_makes_no_sense_is_refused_with_an_example() {
    for bad in ["", "yesterday", "24", "-3h", "3 h", "2026-13-01", "h", "2026-11-01T08:00:00", "5ü"] {
        let arguments = ["usage", &format!("--since={bad}")].map(str::to_owned);
        let error = Command::try_parse_from(arguments).unwrap_err().to_string();
        assert!(error.contains("like 24h, 7d, 2026-11-01") || bad.is_empty(), "{bad}: {error}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let state = tempfile::tempdir().unwrap();
    let _spool = spool_of(state.path(), &history());
    let (reader, mut pipe) = std::io::pipe().unwrap();
    drop(reader);
    let command = Command::try_parse_from(["usage", "--state", state.path().to_str().unwrap()]).unwrap();
    run(&command.usage, at(NOON), &mut pipe).unwrap();
}
