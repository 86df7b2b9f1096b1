//! The list of checks that decide who calls, each with the edit that takes it out and the test that then fails.
//!
//! A list is a text file of `checks/lists`:
//!
//! ```text
//! file agent/src/identify/kind.rs
//! case agent identify::tests::policy::t1_each_demand_of_a_provider_is_met_or_named
//!
//! a token with a hash of an access token is an ID token
//! - says_so || has_hash ||
//! + says_so ||
//! ```
//!
//! `file` and `case` hold until the next of their kind. A case is a crate's folder and the path of a test in it. The text after
//! `-` must stand once in the file, or is the first behind the text of a line `@`; the one after `+` takes its place.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The list and the line of its edit.
    pub place: String,
    /// From the root of the repository.
    pub file: PathBuf,
    /// What the file no longer checks after the edit.
    pub what: String,
    /// Where to look for `old`; empty for the whole file.
    pub behind: String,
    pub old: String,
    pub new: String,
    pub case: Case,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// The crate's folder, as `agent`.
    pub folder: String,
    /// As the test's binary names it.
    pub path: String,
}

/// The repository's.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All of them, by list and line.
pub fn all() -> Vec<Check> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/lists");
    let mut lists: Vec<_> =
        fs::read_dir(folder).expect("the lists").map(|entry| entry.expect("a list").path()).collect();
    lists.sort();
    lists.iter().flat_map(|list| read(list)).collect()
}

fn read(list: &Path) -> Vec<Check> {
    let text = fs::read_to_string(list).expect("a list");
    let name = list.file_name().unwrap_or_default().to_string_lossy();
    let (mut checks, mut file, mut case) = (Vec::new(), PathBuf::new(), None);
    let (mut what, mut behind, mut old) = (String::new(), String::new(), None);
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" | "#" => {}
            "file" => file = rest.into(),
            "case" => {
                let (folder, path) =
                    rest.split_once(' ').unwrap_or_else(|| panic!("{place}: a case is FOLDER PATH"));
                case = Some(Case { folder: folder.to_owned(), path: path.to_owned() });
            }
            "@" => rest.clone_into(&mut behind),
            "-" => old = Some(rest.to_owned()),
            "+" => {
                let old = old.take().unwrap_or_else(|| panic!("{place}: a `+` needs a `-` before it"));
                let case = case.clone().unwrap_or_else(|| panic!("{place}: needs a `case` before it"));
                assert!(!what.is_empty() && old != rest, "{place}: must say what it takes out, and do so");
                checks.push(Check {
                    place,
                    file: file.clone(),
                    what: std::mem::take(&mut what),
                    behind: std::mem::take(&mut behind),
                    old,
                    new: rest.to_owned(),
                    case,
                });
            }
            _ => line.clone_into(&mut what),
        }
    }
    assert!(what.is_empty() && old.is_none(), "{name}: its last check is not whole");
    checks
}

impl Check {
    /// The file's text without the check.
    ///
    /// # Errors
    /// The edit no longer fits the file, or fits it twice.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let (before, rest) = text.split_at(match text.find(&self.behind) {
            Some(start) => start + self.behind.len(),
            None => return Err(format!("{}: {:?} is not in the file", self.place, self.behind)),
        });
        match rest.matches(&self.old).count() {
            0 => Err(format!("{}: {:?} is not there any more; write the edit anew", self.place, self.old)),
            1 => Ok(format!("{before}{}", rest.replacen(&self.old, &self.new, 1))),
            _ if !self.behind.is_empty() => Ok(format!("{before}{}", rest.replacen(&self.old, &self.new, 1))),
            many => Err(format!("{}: {:?} is there {many} times; make it longer", self.place, self.old)),
        }
    }
}
