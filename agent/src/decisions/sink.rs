//! Where lines go: two files that take turns, or a stream.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub(super) const CURRENT: &str = "current.jsonl";
pub(super) const PREVIOUS: &str = "previous.jsonl";

/// Length at which a file is put away: 16,000 refusals of 500 bytes. With the one put away before, a caller's
/// question can be answered for at least as many refusals, within 20 MiB of disk.
pub(super) const ROTATE_AT_BYTES: u64 = 8 * 1024 * 1024;

/// Pause before a stream that is set to non-blocking is tried again.
const FULL_PIPE_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) enum Sink {
    Rotating(RotatingFile),
    Stream(File),
}

/// `current.jsonl`, which becomes `previous.jsonl` when it is long enough.
#[derive(Debug)]
pub(super) struct RotatingFile {
    directory: PathBuf,
    file: File,
    /// The last write ended in the middle of a line.
    torn: bool,
}

impl Sink {
    /// Writes whole lines. An error comes with the number of bytes that were written before it.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), (io::Error, usize)> {
        match self {
            Self::Rotating(file) => file.write(lines),
            Self::Stream(file) => write_all(file, lines),
        }
    }
}

impl RotatingFile {
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        let directory = state.join("decisions");
        // Refusals name people, so only the gateway's user may read them.
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(named(&directory))?;
        let (file, torn) = open_current(&directory)?;
        Ok(Self { directory, file, torn })
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), (io::Error, usize)> {
        self.rotate_if_long().map_err(|error| (error, 0))?;
        if self.torn {
            self.file.write_all(b"\n").map_err(|error| (error, 0))?;
            self.torn = false;
        }
        write_all(&mut self.file, lines).inspect_err(|(_, written)| {
            self.torn = *written > 0 && lines.get(written - 1) != Some(&b'\n');
        })
    }

    fn rotate_if_long(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        if own.len() < ROTATE_AT_BYTES {
            return Ok(());
        }
        let current = self.directory.join(CURRENT);
        // A second gateway on the same state may have put the file away already.
        let is_current = fs::metadata(&current).is_ok_and(|there| there.ino() == own.ino());
        if is_current {
            fs::rename(&current, self.directory.join(PREVIOUS)).map_err(named(&current))?;
        }
        (self.file, self.torn) = open_current(&self.directory)?;
        Ok(())
    }
}

/// Opens the file to append, and says whether it ends in the middle of a line.
fn open_current(directory: &Path) -> io::Result<(File, bool)> {
    let path = directory.join(CURRENT);
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(named(&path))?;
    let mut last = *b"\n";
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok((file, last != *b"\n"))
}

fn write_all(file: &mut File, lines: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares the terminal may have set it so; the descriptor is theirs too.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_PIPE_PAUSE),
            Err(error) => return Err((error, written)),
        }
    }
    Ok(())
}

fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
