//! Dependencies run one way: a module may use only what stands before it in the list.
//!
//! Rust does not enforce this within a crate, so a test does.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// The agent's modules, from the ones that know nothing to the one that knows everything.
const ORDER: &[&str] = &[
    "clock",
    "within",
    "backoff",
    "whole_file",
    "hop_by_hop",
    "watched",
    "validity",
    "json_edit",
    "did_key",
    "callers",
    "cors",
    "load",
    "peer",
    "front",
    "tls",
    "control_plane",
    "enrolment",
    "decisions",
    "snapshot",
    "usage",
    "reporter",
    "sign_in",
    "connect",
    "cli",
    "settings",
    "telemetry",
    "identify",
    "source",
    "ask",
    "meter",
    "authorize",
    "admit",
    "route",
    "forward",
    "refusal",
    "access_log",
    "metrics",
    "answer",
    "declared_models",
    "own_routes",
    "settle",
    "pipeline",
    "listen",
    "connection",
    "core",
    "admin",
    "explain",
    "managed",
    "start",
    // Not in the program.
    "fuzzing",
];

/// The control plane's.
const CONTROL_PLANE_ORDER: &[&str] = &[
    "clock",
    "domain",
    "seal",
    "db",
    "authority",
    "questions",
    "ops",
    "bundle",
    "changes",
    "issuer_keys",
    "grpc",
    "state",
    "auth",
    "api",
    "console",
    "listen",
    "router",
    "start",
    "cli",
];

/// Uses against the order that are meant, each with its reason.
const MEANT: &[(&str, &str, &str)] = &[
    ("cli", "source", "the command line runs the program"),
    ("cli", "settings", "the command line runs the program"),
    ("cli", "explain", "the command line asks the program that runs"),
    ("cli", "start", "the command line runs the program"),
    ("cli", "telemetry", "the command line runs the program"),
    ("admit", "meter", "a ticket keeps the meter's last reading"),
    ("meter", "admit", "a metered body owns the ticket"),
    ("meter", "forward", "the meter takes the forwarded answer"),
    ("meter", "route", "a body keeps its place at the engine"),
    ("meter", "refusal", "an answer that broke is refused"),
    ("forward", "refusal", "a failed forward is refused"),
];

#[test]
fn modules_use_only_what_stands_before_them() {
    assert_order("agent/src", ORDER, MEANT);
    assert_order("control-plane/src", CONTROL_PLANE_ORDER, &[]);
}

#[test]
fn only_what_speaks_with_the_control_plane_knows_how() {
    const SPEAKERS: [&str; 5] = ["control_plane", "enrolment", "reporter", "source/control_plane", "managed"];
    let source = source("agent/src");
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("below the source folder");
        let text = fs::read_to_string(&file).expect("a source file");
        let may = SPEAKERS.iter().any(|speaker| relative.starts_with(speaker));
        assert!(may || !text.contains("tonic::"), "{} speaks gRPC", relative.display());
    }
}

#[test]
fn sql_is_in_one_place() {
    let source = source("control-plane/src");
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("below the source folder");
        let text = fs::read_to_string(&file).expect("a source file");
        // Tests look past the program at the tables.
        let is_test = relative.components().any(|part| part.as_os_str() == "tests");
        let may = relative.starts_with("db") || is_test;
        assert!(may || !text.contains("sqlx::query"), "{} has SQL; it belongs in db/", relative.display());
    }
}

fn source(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
}

fn assert_order(folder: &str, order: &[&str], meant: &[(&str, &str, &str)]) {
    let source = source(folder);
    let place_of = |module: &str| order.iter().position(|name| *name == module);
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("below the source folder");
        // Tests may use whatever they test with.
        if relative.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        let first = relative.iter().next().expect("not empty").to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let place = place_of(&module).unwrap_or_else(|| panic!("{module} has no place in the list"));
        let text = fs::read_to_string(&file).expect("a source file");
        for used in uses(&text) {
            let is_meant = meant.iter().any(|(from, to, _)| *from == module && *to == used);
            if place_of(&used).is_some_and(|at| at > place) && !is_meant {
                wrong.push(format!("{} uses {used}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the order of modules:\n{}", wrong.join("\n"));
}

#[test]
fn the_order_names_each_module_once() {
    for order in [ORDER, CONTROL_PLANE_ORDER] {
        let names: HashSet<_> = order.iter().collect();
        assert_eq!(names.len(), order.len());
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// First segments after `crate::`, in plain and in nested imports, tests left out.
fn uses(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 1;
                let mut word = String::new();
                let mut is_first = true;
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => is_first = true,
                        c if depth == 1 && is_first && (c.is_alphanumeric() || c == '_') => {
                            word.push(c);
                            continue;
                        }
                        _ => {}
                    }
                    if !word.is_empty() {
                        found.push(std::mem::take(&mut word));
                        is_first = false;
                    }
                    if depth == 0 {
                        break;
                    }
                    if c == ',' && depth == 1 {
                        is_first = true;
                    }
                }
            }
            None => found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
        }
    }
    found
}
