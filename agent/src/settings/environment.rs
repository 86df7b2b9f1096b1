//! The environment, with `.env` of the working directory behind it.

use super::Problem;
use std::{collections::HashMap, path::Path};

/// Names and values. What the process was started with wins over `.env`.
#[derive(Debug, Default)]
pub(crate) struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads both. A line of `.env` that can't be read is an error: a setting that is silently absent is worse.
    pub(crate) fn read(folder: &Path) -> Result<Self, Problem> {
        let mut values = HashMap::new();
        let file = folder.join(".env");
        if file.exists() {
            let unreadable = |why: String| {
                Problem::new(
                    file.display().to_string(),
                    why,
                    "Mend that line (NAME=value), or remove the file.",
                )
            };
            let lines = dotenvy::from_path_iter(&file).map_err(|error| unreadable(error.to_string()))?;
            for (number, line) in lines.enumerate() {
                let (name, value) = line.map_err(|error| {
                    // The text of the line stays out of the message: it may be a secret.
                    if matches!(error, dotenvy::Error::LineParse(..)) {
                        unreadable(format!("has a setting that is not NAME=value: number {}", number + 1))
                    } else {
                        unreadable(error.to_string())
                    }
                })?;
                values.entry(name).or_insert(value);
            }
        }
        values.extend(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Ok(Self(values))
    }

    /// `None` when it is not set, or set to nothing but white space.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.get_even_if_empty(name).filter(|value| !value.is_empty())
    }

    /// For the settings whose empty value has a meaning of its own.
    pub(crate) fn get_even_if_empty(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim())
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Environment, Problem> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), text).unwrap();
        Environment::read(folder.path())
    }

    #[test]
    fn dot_env_is_read_and_the_process_environment_wins() {
        let environment =
            read("ATTACH_TEST_ONLY_HERE=\"a b\"\nexport ATTACH_TEST_TWO=2 # why\nPATH=/nowhere\n").unwrap();
        assert_eq!(environment.get("ATTACH_TEST_ONLY_HERE"), Some("a b"));
        assert_eq!(environment.get("ATTACH_TEST_TWO"), Some("2"));
        assert_ne!(environment.get("PATH"), Some("/nowhere"));
    }

    #[test]
    fn a_broken_line_is_named_by_its_number_and_its_text_is_not_shown() {
        let problem = read("GOOD=1\nhunter2 is my secret\n").unwrap_err();
        assert!(problem.problem.contains("number 2"), "{problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}
