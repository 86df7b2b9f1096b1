//! Files that act again when they change.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How often files are looked at. A change acts after two looks that see the same; a look is one system call a file.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Files that belong together, and how they were when they were read last.
#[derive(Debug)]
pub(crate) struct Watched {
    files: Vec<PathBuf>,
    read: Vec<Stamp>,
    last: Vec<Stamp>,
}

impl Watched {
    /// To be made before the files are read for the first time, or a change in between is missed.
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        let read = stamps(&files);
        Self { last: read.clone(), read, files }
    }

    /// Until one of them has changed. They are to be read then, and this be asked again.
    ///
    /// Files that changed since the last look may be half-written; half a bundle can be a valid one, without its limits.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = stamps(&self.files);
            let is_still = now == self.last;
            self.last.clone_from(&now);
            if is_still && now != self.read {
                self.read = now;
                return;
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

/// What tells one state of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<State>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    modified: SystemTime,
    /// Of the file's entry: who may read it, and a file moved here with its old times, show only in this.
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let read = || {
            let metadata = std::fs::metadata(path).ok()?;
            Some(State {
                modified: metadata.modified().ok()?,
                changed: (metadata.ctime(), metadata.ctime_nsec()),
                length: metadata.len(),
                inode: metadata.ino(),
            })
        };
        Self(read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_file_that_changed_or_came_back_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        std::fs::write(&first, "a").unwrap();
        let mut watched = Watched::new(vec![first, second.clone()]);
        let patience = Duration::from_secs(20);
        std::fs::write(&second, "b").unwrap();
        timeout(patience, watched.changed()).await.unwrap();
        assert!(timeout(LOOK_EVERY * 3, watched.changed()).await.is_err());
        // As secret stores put files in place: another file under the same name.
        std::fs::write(folder.path().join("aside"), "c").unwrap();
        std::fs::rename(folder.path().join("aside"), &second).unwrap();
        timeout(patience, watched.changed()).await.unwrap();
    }
}
