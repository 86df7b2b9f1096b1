//! What time it is for one gateway, by a preloaded library: hours pass for it when the test says so.

use crate::gateway::Setup;
use std::{fs, path::Path, path::PathBuf, process::Command, time::Duration};

/// Right, until it is told otherwise. What is measured (timers, pauses, ages since the start) goes on at its usual pace.
pub struct WallClock {
    folder: tempfile::TempDir,
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

impl WallClock {
    pub fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/wall_clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clock.library()).arg(source);
        assert!(compiler.status().expect("there is a C compiler").success());
        clock
    }

    /// From now on it is this much later than it is.
    pub fn be_ahead(&self, by: Duration) {
        // Renamed into place, so that it is never read half-written.
        let draft = self.folder.path().join("draft");
        fs::write(&draft, by.as_secs().to_string()).expect("a file in our own folder");
        fs::rename(draft, self.file()).expect("a file in our own folder");
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("wall_clock.so")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }
}

impl Setup {
    /// Goes by this clock.
    #[must_use]
    pub fn with_wall_clock(self, clock: &WallClock) -> Self {
        self.with("LD_PRELOAD", &clock.library().display().to_string())
            .with("WALL_CLOCK_FILE", &clock.file().display().to_string())
    }
}
