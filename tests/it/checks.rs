//! The lists of checks fit the source. That their cases fail without them, `tests/run checks` tells.

use attach_tests::checks::{Check, all, root};
use std::{collections::BTreeMap, fs, path::Path};

#[test]
fn each_check_that_is_listed_stands_in_its_file_and_its_case_is_a_test() {
    let mut tests: BTreeMap<String, String> = BTreeMap::new();
    for check in all() {
        let text = fs::read_to_string(root().join(&check.file)).expect("the file of a check");
        if let Err(problem) = check.apply(&text) {
            panic!("{problem}");
        }
        let Check { place, case, .. } = &check;
        let source = tests.entry(case.folder.clone()).or_insert_with(|| {
            let mut source = String::new();
            read_all(&root().join(&case.folder).join("src"), &mut source);
            source
        });
        let name = case.path.rsplit("::").next().unwrap_or_default();
        assert!(source.contains(&format!("fn {name}()")), "{place}: there is no test {}", case.path);
    }
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|of| of == "rs") {
            into.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}
