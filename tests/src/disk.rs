//! A disk that syncs slowly, or not at all, when the test says so: for one gateway, by a preloaded library.

use crate::gateway::Setup;
use std::{fs, path::Path, path::PathBuf, process::Command, time::Duration};

/// Good, until it is told otherwise.
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk {
    pub fn new() -> Self {
        let disk = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/slow_sync.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(disk.library()).arg(source).arg("-ldl");
        assert!(compiler.status().expect("there is a C compiler").success());
        disk
    }

    /// From now on each sync takes this much longer.
    pub fn slow_down(&self, delay: Duration) {
        // Renamed into place, so that it is never read half-written.
        let draft = self.folder.path().join("draft");
        fs::write(&draft, delay.as_millis().to_string()).expect("a file in our own folder");
        fs::rename(draft, self.slow()).expect("a file in our own folder");
    }

    /// From now on each sync fails with `EIO`.
    pub fn fail(&self) {
        fs::write(self.failing(), "").expect("a file in our own folder");
    }

    /// From now on it works again.
    pub fn mend(&self) {
        for file in [self.slow(), self.failing()] {
            // Only what is wrong has a file.
            let _ = fs::remove_file(file);
        }
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("slow_sync.so")
    }

    fn slow(&self) -> PathBuf {
        self.folder.path().join("slow")
    }

    fn failing(&self) -> PathBuf {
        self.folder.path().join("failing")
    }
}

impl Setup {
    /// Its state lies on this disk.
    #[must_use]
    pub fn with_disk(self, disk: &Disk) -> Self {
        self.with("LD_PRELOAD", &disk.library().display().to_string())
            .with("SLOW_SYNC_FILE", &disk.slow().display().to_string())
            .with("FAIL_SYNC_FILE", &disk.failing().display().to_string())
    }
}
