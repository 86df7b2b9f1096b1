//! The SQLite file of one spool: its settings, its schema, and the few statements of the writer.
//!
//! Auto-checkpoint is off because SQLite throws its I/O errors away; the writer checkpoints by itself and looks.
//! The build sets `HAVE_FDATASYNC`, without which each commit costs a full `fsync`.

use super::{
    destination::AuthorityMark,
    spool::{Entry, SpoolFault},
};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
    config::DbConfig, params,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) const FILE_NAME: &str = "spool.db";

/// `ATSP`, in the file's header, so that `file` and we can tell a spool from any other database.
const APPLICATION_ID: i32 = 0x4154_5350;

pub(super) const LAST_SEQ: &str = "last_seq";
pub(super) const ACKNOWLEDGED: &str = "acked";
const AUTHORITY: &str = "authority";

/// Goes up with each change that an older reader would misread.
pub(super) const SCHEMA_VERSION: i32 = 1;

/// How long a commit waits for somebody else's lock. Only a tool in a human's hand ever takes one; half of the second
/// that an answer's end marker may wait.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// `last_seq` is written before events are deleted: the greatest `seq` is gone once all are, and numbers must never be
/// given twice. It is not in each commit, where it would be one page more to write. `rolled` is the last event that
/// stands in `usage_day`. A row `acked` is there when a control plane takes the events, a row `authority` says which.
const SCHEMA: &str = "
create table ev(
    seq integer primary key,
    at integer not null,
    body blob not null
) strict;
create table meta(k text primary key, v integer not null) strict, without rowid;
insert into meta(k, v) values ('last_seq', 0), ('rolled', 0), ('undecodable', 0);
create table usage_day(
    day integer not null,
    tenant text not null,
    principal_kind integer not null,
    issuer text not null,
    subject text not null,
    model text not null,
    kind text not null,
    source integer not null,
    quantity integer not null check (quantity >= 0),
    requests integer not null check (requests >= 0),
    primary key (day, tenant, principal_kind, issuer, subject, model, kind, source)
) strict, without rowid;
create table day_span(day integer primary key, first_seq integer not null, last_seq integer not null) strict;
";

/// An open spool.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
}

/// Frames of the write-ahead log, and how many of them stand in the main file too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frames {
    pub(super) written: i64,
    pub(super) checkpointed: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Checkpoint {
    /// Only counts.
    Noop,
    /// Copies what no reader stands in the way of.
    Passive,
    /// Copies all and empties the log, or fails.
    Truncate,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{}: {source}", path.display())]
    Sql { path: PathBuf, source: rusqlite::Error },
    #[error("{}: is not a usage spool", path.display())]
    NotASpool { path: PathBuf },
    #[error("{}: was written by a newer version (schema {found}, this one reads {SCHEMA_VERSION}); \
             use that version to read it", path.display())]
    NewerSchema { path: PathBuf, found: i32 },
    #[error("{}: event {acknowledged} was acknowledged, but the file ends at {found}", path.display())]
    Lost { path: PathBuf, acknowledged: i64, found: i64 },
    #[error("{}: a reader keeps the log from being emptied", path.display())]
    HeldByReader { path: PathBuf },
}

impl StoreError {
    pub(super) fn fault(&self) -> SpoolFault {
        match self {
            Self::Sql { source, .. } => fault(source),
            Self::HeldByReader { .. } => SpoolFault::Io,
            Self::NotASpool { .. } | Self::NewerSchema { .. } | Self::Lost { .. } => SpoolFault::Damaged,
        }
    }
}

fn fault(error: &rusqlite::Error) -> SpoolFault {
    let code = error.sqlite_error_code();
    if code == Some(ErrorCode::DiskFull) {
        SpoolFault::DiskFull
    } else if code == Some(ErrorCode::DatabaseCorrupt) || code == Some(ErrorCode::NotADatabase) {
        SpoolFault::Damaged
    } else {
        SpoolFault::Io
    }
}

impl Store {
    /// Makes the file in a directory that has none.
    pub(super) fn create(directory: &Path) -> Result<Self, StoreError> {
        let store =
            Self::connect(directory, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        // In one transaction: a reader sees the whole schema, or a file without a version that it passes over.
        let statements = format!(
            "begin immediate; {SCHEMA} pragma application_id = {APPLICATION_ID}; \
             pragma user_version = {SCHEMA_VERSION}; commit;"
        );
        store.sql(|connection| {
            connection.pragma_update(None, "page_size", 4096)?;
            settings(connection)?;
            connection.execute_batch(&statements)
        })?;
        store.checkpoint(Checkpoint::Truncate)?;
        Ok(store)
    }

    /// Opens a file to write; `None` when no schema was ever committed to it.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, StoreError> {
        let store = Self::connect(directory, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if !store.has_schema()? {
            return Ok(None);
        }
        store.sql(settings)?;
        Ok(Some(store))
    }

    /// Opens a file that another process may be writing; `None` when no schema was ever committed to it.
    pub(super) fn open_to_read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let store = Self::connect(directory, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(store.has_schema()?.then_some(store))
    }

    /// Opens a file after a fault, and makes it fit to go on with.
    ///
    /// After a failed sync the kernel may hold pages that never reached the disk but look clean. A commit behind such
    /// pages in the log would be lost with them, so the whole log is copied out, synced and emptied first. Events
    /// above `acknowledged` were answered with an error: they are taken out, so that whoever tries again is not
    /// counted twice. Only a process that dies between the fault and this repair leaves them in.
    pub(super) fn repair(directory: &Path, acknowledged: i64) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        let mut store = Self::open(directory)?.ok_or(StoreError::NotASpool { path })?;
        let found = store.last_seq()?;
        if found < acknowledged {
            return Err(StoreError::Lost { path: store.path, acknowledged, found });
        }
        store.transaction(|transaction| {
            if found > acknowledged {
                transaction.execute("delete from ev where seq > ?1", [acknowledged])?;
                set_meta(transaction, LAST_SEQ, acknowledged)?;
            }
            // Written although it is the same: a file that took no commit and no sync is not known to work again.
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
        })?;
        store.checkpoint(Checkpoint::Truncate)?;
        Ok(store)
    }

    /// Number of the last event ever stored; 0 before the first.
    pub(super) fn last_seq(&self) -> Result<i64, StoreError> {
        self.sql(last_seq)
    }

    /// Number of the last event that stands in the roll-ups.
    pub(super) fn rolled(&self) -> Result<i64, StoreError> {
        self.sql(|connection| meta(connection, "rolled")).map(Option::unwrap_or_default)
    }

    /// Number of the last event that a control plane has; `None` for a spool that no control plane is sent.
    pub(super) fn acknowledged(&self) -> Result<Option<i64>, StoreError> {
        self.sql(|connection| meta(connection, ACKNOWLEDGED))
    }

    /// The control plane that takes the events, where the spool says so.
    pub(super) fn authority(&self) -> Result<Option<AuthorityMark>, StoreError> {
        let kept = self.sql(|connection| meta(connection, AUTHORITY))?;
        Ok(kept.map(AuthorityMark::from_kept))
    }

    /// For good.
    pub(super) fn belong_to(&self, authority: AuthorityMark) -> Result<(), StoreError> {
        self.sql(|connection| {
            let insert = "insert into meta(k, v) values (?1, ?2)";
            connection.execute(insert, params![AUTHORITY, authority.kept()]).map(drop)
        })
    }

    /// Keeps that number. It never goes back.
    pub(super) fn acknowledge(&self, seq: i64) -> Result<(), StoreError> {
        self.sql(|connection| {
            connection
                .prepare_cached(
                    "insert into meta(k, v) values (?1, ?2) on conflict do update set v = max(v, excluded.v)",
                )?
                .execute(params![ACKNOWLEDGED, seq])
                .map(drop)
        })
    }

    /// Stores events as numbers `last_seq + 1` and up, and syncs. Returns the last number.
    pub(super) fn append<'e>(
        &mut self,
        last_seq: i64,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<i64, StoreError> {
        self.transaction(|transaction| {
            let mut seq = last_seq;
            let mut insert =
                transaction.prepare_cached("insert into ev(seq, at, body) values (?1, ?2, ?3)")?;
            for entry in entries {
                seq += 1;
                insert.execute(params![seq, entry.at_ms, entry.body])?;
            }
            Ok(seq)
        })
    }

    pub(super) fn checkpoint(&self, mode: Checkpoint) -> Result<Frames, StoreError> {
        let statement = match mode {
            Checkpoint::Noop => "pragma wal_checkpoint(noop)",
            Checkpoint::Passive => "pragma wal_checkpoint(passive)",
            Checkpoint::Truncate => "pragma wal_checkpoint(truncate)",
        };
        let (busy, frames) = self.sql(|connection| {
            connection.prepare_cached(statement)?.query_row([], |row| {
                Ok((row.get::<_, bool>(0)?, Frames { written: row.get(1)?, checkpointed: row.get(2)? }))
            })
        })?;
        match mode {
            Checkpoint::Truncate if busy => Err(StoreError::HeldByReader { path: self.path.clone() }),
            Checkpoint::Noop | Checkpoint::Passive | Checkpoint::Truncate => Ok(frames),
        }
    }

    /// Runs `work` in a transaction that takes the write lock at once.
    ///
    /// Begin and commit are prepared statements: rusqlite's own transaction has them parsed anew, a tenth of a commit.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.sql(|connection| {
            let run = |statement| connection.prepare_cached(statement)?.execute([]);
            run("begin immediate")?;
            let done = work(connection).and_then(|value| run("commit").map(|_| value));
            if done.is_err() {
                // Most faults have ended the transaction already; the first of them is the one to tell.
                let _ = run("rollback");
            }
            done
        })
    }

    /// Runs `read` on one unchanging view of the file.
    pub(super) fn view<T>(
        &mut self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .and_then(|transaction| read(&transaction))
            .map_err(|source| StoreError::Sql { path: self.path.clone(), source })
    }

    fn connect(directory: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        let connect = || {
            let connection = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // Closing would checkpoint, and hide what that met.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            Ok(connection)
        };
        match connect() {
            Ok(connection) => Ok(Self { connection, path }),
            Err(source) => Err(StoreError::Sql { path, source }),
        }
    }

    fn has_schema(&self) -> Result<bool, StoreError> {
        let read = |name| self.sql(|c| c.pragma_query_value(None, name, |row| row.get::<_, i32>(0)));
        match (read("application_id")?, read("user_version")?) {
            (0, 0) if self.sql(is_empty)? => Ok(false),
            (APPLICATION_ID, version) if version <= SCHEMA_VERSION => Ok(true),
            (APPLICATION_ID, found) => Err(StoreError::NewerSchema { path: self.path.clone(), found }),
            _ => Err(StoreError::NotASpool { path: self.path.clone() }),
        }
    }

    fn sql<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.connection).map_err(|source| StoreError::Sql { path: self.path.clone(), source })
    }
}

/// The greater of what is there and what was there before the last deletion.
pub(super) fn last_seq(connection: &Connection) -> rusqlite::Result<i64> {
    let kept: Option<i64> =
        connection.prepare_cached("select max(seq) from ev")?.query_row([], |row| row.get(0))?;
    Ok(kept.unwrap_or(0).max(meta(connection, LAST_SEQ)?.unwrap_or(0)))
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("select v from meta where k = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn set_meta(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("update meta set v = ?2 where k = ?1")?.execute(params![key, value])?;
    Ok(())
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("select count(*) = 0 from sqlite_schema", [], |row| row.get(0))
}

/// A commit syncs (`synchronous = full`); the log is cut back to 64 MiB after a reader kept it from being reused;
/// 16 MB of cache hold the inner pages of a file of gigabytes.
fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 67_108_864, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update_and_check(None, "locking_mode", "normal", |_| Ok(()))
}
