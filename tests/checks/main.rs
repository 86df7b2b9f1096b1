//! Takes each check of `lists` out of a copy of the source, and sees the test fail that stands for it. Prints the table.
//!
//! `tests/run checks` runs this: a build and a test for each. With `ATTACH_CHECKS`, only those whose file has that text in its
//! name.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its table"
)]

mod copy;

use attach_tests::checks::{Case, Check, all};
use copy::{Copy, Outcome};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn without_any_one_check_the_case_that_stands_for_it_fails() {
    let wanted = std::env::var_os("ATTACH_CHECKS").unwrap_or_default().into_string().expect("UTF-8");
    let mut checks = all();
    checks.retain(|check| check.file.to_string_lossy().contains(&wanted));
    assert!(!checks.is_empty(), "no check is in a file with {wanted:?} in its name");

    let copy = Copy::make();
    for (folder, cases) in cases_of(&checks) {
        let outcome = copy.test(&folder, &cases);
        assert!(matches!(outcome, Outcome::Passed), "{folder} as it is: {outcome:?}");
    }
    let failed: Vec<_> = checks.iter().filter(|check| !is_held(&copy, check)).collect();
    println!("{} checks: {} held by a case, {} not", checks.len(), checks.len() - failed.len(), failed.len());
    assert!(failed.is_empty(), "not held: {:#?}", failed.iter().map(|it| &it.place).collect::<Vec<_>>());
}

fn cases_of(checks: &[Check]) -> BTreeMap<String, BTreeSet<Case>> {
    let mut cases: BTreeMap<String, BTreeSet<Case>> = BTreeMap::new();
    for Check { case, .. } in checks {
        cases.entry(case.folder.clone()).or_default().insert(case.clone());
    }
    cases
}

/// Prints the check's line of the table.
fn is_held(copy: &Copy, check: &Check) -> bool {
    let Check { file, what, case, .. } = check;
    let outcome = copy.without(check, || copy.test(&case.folder, &BTreeSet::from([case.clone()])));
    let (is_held, shown) = match &outcome {
        Outcome::Failed => (true, "fails".to_owned()),
        Outcome::Passed => (false, "STILL PASSES".to_owned()),
        Outcome::NotBuilt(why) => (false, format!("NOT BUILT: {why}")),
    };
    println!("{} | {what} | {} {shown}", file.display(), case.path);
    is_held
}
