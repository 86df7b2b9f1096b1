//! A copy of the source, in which a check can be missing for a while.

use attach_tests::checks::{Case, Check, root};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Written to while it is tested, and kept for the next time, so that what did not change is not built again. Its builds go to
/// a folder of their own: cargo would take them for the repository's.
pub(crate) struct Copy {
    source: PathBuf,
    target: PathBuf,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    /// At least one test ran and failed.
    Failed,
    NotBuilt(String),
}

impl Copy {
    pub(crate) fn make() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("checks");
        let (source, target) = (folder.join("source"), folder.join("target"));
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output();
        let listed = listed.expect("git lists the files of the repository");
        assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        for file in listed.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let file = Path::new(str::from_utf8(file).expect("names in UTF-8"));
            let bytes = match fs::read(root().join(file)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", file.display()),
            };
            let place = source.join(file);
            if fs::read(&place).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(place.parent().expect("below the copy")).expect("a folder");
            fs::write(&place, bytes).expect("a copy of a file");
        }
        Self { source, target }
    }

    /// What `run` gives while the check is missing.
    pub(crate) fn without<T>(&self, check: &Check, run: impl FnOnce() -> T) -> T {
        let place = self.source.join(&check.file);
        let whole = fs::read_to_string(&place).unwrap_or_else(|error| panic!("{}: {error}", check.place));
        let edited = check.apply(&whole).unwrap_or_else(|problem| panic!("{problem}"));
        fs::write(&place, edited).expect("the edited file");
        let result = run();
        fs::write(&place, whole).expect("the whole file");
        result
    }

    /// Builds the crate's unit tests, and runs these.
    pub(crate) fn test(&self, folder: &str, cases: &BTreeSet<Case>) -> Outcome {
        let built = self.cargo(folder, &["--no-run"], &[]);
        if !built.status.success() {
            let output = String::from_utf8_lossy(&built.stderr).into_owned();
            let why = output.lines().find(|line| line.starts_with("error")).unwrap_or(&output);
            return Outcome::NotBuilt(why.to_owned());
        }
        let paths: Vec<_> = cases.iter().map(|case| case.path.as_str()).collect();
        let ran = self.cargo(folder, &[], &paths);
        let output = String::from_utf8_lossy(&ran.stdout).into_owned();
        let expected = format!("running {} test", cases.len());
        assert!(output.contains(&expected), "not all of {paths:?} are tests of {folder}:\n{output}");
        if ran.status.success() { Outcome::Passed } else { Outcome::Failed }
    }

    fn cargo(&self, folder: &str, options: &[&str], cases: &[&str]) -> Output {
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["test", "--locked", "--quiet", "--lib"])
            .args(options)
            .args(["--", "--exact"])
            .args(cases)
            .current_dir(self.source.join(folder))
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .output()
            .expect("cargo runs")
    }
}
