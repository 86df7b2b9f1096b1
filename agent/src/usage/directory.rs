//! Which process owns which spool: one directory for each process start, held under a lock.

use rand::random;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use uuid::{Builder, Uuid};

/// How long a start waits for another process that is claiming or removing a directory. That takes a few syscalls
/// and two syncs of a directory; a disk that needs longer than this is not one to start on.
const ROOT_LOCK_WAIT: Duration = Duration::from_secs(5);

/// Pause between two looks at the root lock.
const ROOT_LOCK_POLL: Duration = Duration::from_millis(10);

/// Usage names people, so only the gateway's user may read it.
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// A spool directory that this process holds; nobody else writes in it until this value is dropped.
#[derive(Debug)]
pub(super) struct SpoolDirectory {
    root: PathBuf,
    path: PathBuf,
    id: Uuid,
    /// `flock` belongs to the open file: it ends with the process, however that ends.
    _lock: File,
}

/// A spool directory that exists, whoever holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: Uuid,
    pub(super) path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: another process has held this lock for {} s", path.display(), ROOT_LOCK_WAIT.as_secs())]
    Busy { path: PathBuf },
}

impl SpoolDirectory {
    /// Makes a directory for this process start. The name is a `UUIDv7`, so directories sort by their start.
    pub(super) fn claim(state: &Path, now: jiff::Timestamp) -> Result<Self, DirectoryError> {
        let root = root(state);
        DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIRECTORY)
            .create(&root)
            .map_err(|source| DirectoryError::Io { path: root.clone(), source })?;
        let _root_lock = lock_root(&root)?;
        let id = spool_id(now);
        let path = root.join(id.to_string());
        DirBuilder::new()
            .mode(PRIVATE_DIRECTORY)
            .create(&path)
            .map_err(|source| DirectoryError::Io { path: path.clone(), source })?;
        let lock = match lock(&path)? {
            Some(lock) => lock,
            None => return Err(DirectoryError::Busy { path }),
        };
        // A new directory's name is durable only when its parent is synced, up to what was there before.
        for directory in [&path, &root, state] {
            sync(directory)?;
        }
        Ok(Self { root, path, id, _lock: lock })
    }

    /// Takes over the directory of a process that has ended; `None` while its process lives, or when it is gone.
    pub(super) fn adopt(state: &Path, found: &Found) -> Result<Option<Self>, DirectoryError> {
        let root = root(state);
        let _root_lock = lock_root(&root)?;
        if !found.path.is_dir() {
            return Ok(None);
        }
        Ok(lock(&found.path)?.map(|lock| Self { root, path: found.path.clone(), id: found.id, _lock: lock }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Deletes the directory and all in it.
    pub(super) fn remove(self) -> Result<(), DirectoryError> {
        // Under the root lock, so that nobody can take the lock file just before it is unlinked.
        let _root_lock = lock_root(&self.root)?;
        fs::remove_dir_all(&self.path)
            .map_err(|source| DirectoryError::Io { path: self.path.clone(), source })
    }
}

/// All spool directories below a state directory, oldest first; none when there is no such directory.
pub(super) fn list(state: &Path) -> Result<Vec<Found>, DirectoryError> {
    let root = root(state);
    let at_root = |source| DirectoryError::Io { path: root.clone(), source };
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at_root(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at_root)?;
        let id = entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok());
        if let Some(id) = id {
            found.push(Found { id, path: entry.path() });
        }
    }
    found.sort_by_key(|found| found.id);
    Ok(found)
}

fn root(state: &Path) -> PathBuf {
    state.join("spool")
}

fn spool_id(now: jiff::Timestamp) -> Uuid {
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(milliseconds, &random()).into_uuid()
}

fn lock_root(root: &Path) -> Result<File, DirectoryError> {
    let deadline = Instant::now() + ROOT_LOCK_WAIT;
    loop {
        match lock(root)? {
            Some(lock) => return Ok(lock),
            None if Instant::now() >= deadline => {
                return Err(DirectoryError::Busy { path: root.to_owned() });
            }
            None => thread::sleep(ROOT_LOCK_POLL),
        }
    }
}

/// Locks the file `lock` of a directory; `None` while another process has it.
fn lock(directory: &Path) -> Result<Option<File>, DirectoryError> {
    let path = directory.join("lock");
    let at_path = |source| DirectoryError::Io { path: path.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(&path)
        .map_err(at_path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(at_path(error)),
    }
}

fn sync(directory: &Path) -> Result<(), DirectoryError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|source| DirectoryError::Io { path: directory.to_owned(), source })
}
