//! The spools as a control plane is sent them: in order, without a gap, with a mark of how far it has them.
//!
//! The live spool is read beside its writer, which alone writes the mark. A spool of an earlier start is held under its
//! lock meanwhile, so that a process that still lives is left to send its own.

use super::{
    destination::AuthorityMark,
    directory::{self, DirectoryError, Found, SpoolDirectory},
    spool::SpoolHandle,
    store::{self, Store, StoreError},
};
use bytes::Bytes;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Events of one batch: one statement of the control plane's database, some ten milliseconds long.
const MAX_BATCH_EVENTS: i64 = 1_000;

/// Bytes of one batch, of at least one event: a quarter of what a message may have, so that everything else fits.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Finds what is to be sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: PathBuf,
    own: Uuid,
    spool: SpoolHandle,
    /// Of the control plane that is sent to; it may be changing from one authority to the next.
    authorities: Vec<AuthorityMark>,
    /// Spools of earlier starts that need no more looks: sent whole, or never meant for a control plane.
    settled: HashSet<Uuid>,
}

/// A spool that can be sent from.
#[derive(Debug)]
pub(crate) struct Outgoing {
    id: Uuid,
    store: Store,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Live(SpoolHandle),
    /// Nothing is added to it any more.
    Ended {
        acknowledged: i64,
        last_seq: i64,
        _directory: SpoolDirectory,
    },
}

/// The next events of a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) spool: Uuid,
    pub(crate) first_seq: u64,
    pub(crate) events: Vec<Bytes>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("event {0} is not there any more")]
    Missing(u64),
}

impl Outbox {
    pub(crate) fn new(state: &Path, own: Uuid, spool: SpoolHandle, authorities: Vec<AuthorityMark>) -> Self {
        Self { state: state.to_owned(), own, spool, authorities, settled: HashSet::new() }
    }

    /// This start's spool.
    pub(crate) fn live(&self) -> Result<Outgoing, OutboxError> {
        let found = directory::list(&self.state)?.into_iter().find(|found| found.id == self.own);
        let path = found.map_or_else(|| self.state.clone(), |found| found.path);
        let not_there = || StoreError::NotASpool { path: path.clone() };
        let store = Store::open_to_read(&path)?.ok_or_else(not_there)?;
        Ok(Outgoing { id: self.own, store, hold: Hold::Live(self.spool.clone()) })
    }

    /// Spools of earlier starts that may have something to send, oldest first.
    pub(crate) fn ended(&self) -> Result<Vec<Found>, OutboxError> {
        let mut found = directory::list(&self.state)?;
        found.retain(|found| found.id != self.own && !self.settled.contains(&found.id));
        Ok(found)
    }

    /// Takes hold of one; `None` while its process lives or somebody else is at work on it, and when nothing of it is to be
    /// sent.
    pub(crate) fn open(&mut self, found: &Found) -> Result<Option<Outgoing>, OutboxError> {
        let Some(directory) = SpoolDirectory::adopt(&self.state, found)? else { return Ok(None) };
        let has_file = directory.path().join(store::FILE_NAME).exists();
        let store = if has_file { Store::open(directory.path())? } else { None };
        let acknowledged = store.as_ref().map(Store::acknowledged).transpose()?.flatten();
        if let (Some(store), Some(acknowledged)) = (store, acknowledged) {
            let last_seq = store.last_seq()?;
            let is_another_s =
                store.authority()?.is_some_and(|authority| !self.authorities.contains(&authority));
            if acknowledged < last_seq && is_another_s {
                tracing::warn!(
                    spool.path = %found.path.display(),
                    events = last_seq - acknowledged,
                    "usage for the control plane that this gateway belonged to before; it is kept and not sent to this one"
                );
            } else if acknowledged < last_seq {
                let hold = Hold::Ended { acknowledged, last_seq, _directory: directory };
                return Ok(Some(Outgoing { id: found.id, store, hold }));
            }
        }
        self.settle(found.id);
        Ok(None)
    }

    /// Nothing more is to be sent of a spool of an earlier start.
    pub(crate) fn settle(&mut self, spool: Uuid) {
        self.settled.insert(spool);
    }
}

impl Outgoing {
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// Number of the last event that the control plane has; 0 before the first.
    pub(crate) fn acknowledged(&self) -> u64 {
        let acknowledged = match &self.hold {
            Hold::Live(spool) => spool.acknowledged(),
            Hold::Ended { acknowledged, .. } => *acknowledged,
        };
        acknowledged.unsigned_abs()
    }

    /// Number of the last event that is there to be sent. Of the live spool, one that was answered as durable: what a
    /// failed commit left behind is taken out again, and its numbers go to others.
    pub(crate) fn last_seq(&self) -> u64 {
        let last = match &self.hold {
            Hold::Live(spool) => spool.last_seq(),
            Hold::Ended { last_seq, .. } => *last_seq,
        };
        last.unsigned_abs()
    }

    /// The events behind number `after`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// The next event may have been deleted, long after it was acknowledged.
    pub(crate) fn batch(&mut self, after: u64) -> Result<Option<Batch>, OutboxError> {
        let last = self.last_seq();
        if after >= last {
            return Ok(None);
        }
        let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let range = [number(after), number(last), MAX_BATCH_EVENTS];
        let events = self.store.view(|view| {
            let mut events: Vec<Bytes> = Vec::new();
            let mut bytes = 0;
            let mut select = view.prepare_cached(
                "select seq, body from ev where seq > ?1 and seq <= ?2 order by seq limit ?3",
            )?;
            let mut rows = select.query(range)?;
            let mut expected = range[0];
            while let Some(row) = rows.next()? {
                expected += 1;
                let body: Vec<u8> = row.get(1)?;
                bytes += body.len();
                let is_next = row.get::<_, i64>(0)? == expected;
                if !is_next || bytes > MAX_BATCH_BYTES && !events.is_empty() {
                    break;
                }
                events.push(body.into());
            }
            Ok(events)
        })?;
        let first_seq = after + 1;
        if events.is_empty() {
            return Err(OutboxError::Missing(first_seq));
        }
        Ok(Some(Batch { spool: self.id, first_seq, events }))
    }

    /// The control plane has committed all events up to this number.
    pub(crate) fn acknowledge(&mut self, seq: u64) -> Result<(), OutboxError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        match &mut self.hold {
            Hold::Live(spool) => spool.acknowledge(seq),
            Hold::Ended { acknowledged, .. } => {
                self.store.acknowledge(seq)?;
                *acknowledged = seq.max(*acknowledged);
            }
        }
        Ok(())
    }
}
