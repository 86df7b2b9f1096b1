//! Proofs that serve once, and did.

use super::{excerpt::Excerpt, fault::IdentityFault};
use attach_proto::id::TenantId;
use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

/// Proofs that are remembered. One takes some 150 bytes, so all are 30 MiB. By one-minute tokens a process can take in
/// 1,600 a second, which is more than an engine serves.
const MAX_USED: usize = 200_000;

/// A quarter, so that a tenant that wants every caller to sign each request does not turn away those of the others.
const MAX_USED_OF_TENANT: usize = MAX_USED / 4;

/// Of one process, shared by its cores, and gone with it: what was signed before it began is therefore not taken, because
/// the process before may have taken it. Another gateway remembers for itself.
#[derive(Debug)]
pub(crate) struct UsedProofs {
    since: Timestamp,
    memory: Mutex<Memory>,
    capacity: usize,
    capacity_of_tenant: usize,
}

#[derive(Debug, Default)]
struct Memory {
    used: HashSet<[u8; 32]>,
    /// By their end (Unix time in milliseconds), after which they are refused without being remembered.
    ends: BTreeMap<(i64, [u8; 32]), TenantId>,
    of_tenant: HashMap<TenantId, usize>,
}

impl UsedProofs {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self::with_capacity(since, MAX_USED, MAX_USED_OF_TENANT)
    }

    pub(super) fn with_capacity(since: Timestamp, capacity: usize, capacity_of_tenant: usize) -> Self {
        Self { since, memory: Mutex::default(), capacity, capacity_of_tenant }
    }

    /// `signer` is the DID, or the thumbprint of the key, that signed it; times are Unix times in milliseconds.
    ///
    /// # Errors
    /// When it was used, or could have been before this process began, or cannot be remembered.
    pub(super) fn use_up(
        &self,
        tenant: &TenantId,
        signer: &str,
        id: &str,
        issued: i64,
        valid_until: i64,
        now: Timestamp,
    ) -> Result<(), IdentityFault> {
        let (mut memory, mark) = self.with_room(tenant, signer, id, issued, now)?;
        memory.used.insert(mark);
        memory.ends.insert((valid_until, mark), tenant.clone());
        *memory.of_tenant.entry(tenant.clone()).or_default() += 1;
        Ok(())
    }

    /// What [`use_up`](Self::use_up) would say; nothing is used up.
    pub(super) fn look(
        &self,
        tenant: &TenantId,
        signer: &str,
        id: &str,
        issued: i64,
        now: Timestamp,
    ) -> Result<(), IdentityFault> {
        self.with_room(tenant, signer, id, issued, now).map(drop)
    }

    fn with_room(
        &self,
        tenant: &TenantId,
        signer: &str,
        id: &str,
        issued: i64,
        now: Timestamp,
    ) -> Result<(MutexGuard<'_, Memory>, [u8; 32]), IdentityFault> {
        if issued < self.since.as_millisecond() {
            let issued = Timestamp::from_millisecond(issued).unwrap_or_default();
            return Err(IdentityFault::BeforeMemory { issued, started: self.since });
        }
        let mark = mark(tenant, signer, id);
        let mut memory = self.memory.lock();
        memory.forget_ended(now.as_millisecond());
        if memory.used.contains(&mark) {
            return Err(IdentityFault::Replayed(Excerpt::of(id)));
        }
        let of_tenant = memory.of_tenant.get(tenant).copied().unwrap_or_default();
        if memory.used.len() >= self.capacity || of_tenant >= self.capacity_of_tenant {
            return Err(IdentityFault::ReplayMemoryFull { retry_after: memory.next_end(now) });
        }
        Ok((memory, mark))
    }
}

impl Memory {
    fn forget_ended(&mut self, now: i64) {
        while let Some(entry) = self.ends.first_entry()
            && entry.key().0 <= now
        {
            let ((_, mark), tenant) = entry.remove_entry();
            self.used.remove(&mark);
            if let Some(count) = self.of_tenant.get_mut(&tenant) {
                *count -= 1;
                if *count == 0 {
                    self.of_tenant.remove(&tenant);
                }
            }
        }
    }

    fn next_end(&self, now: Timestamp) -> Duration {
        /// Of a header that says when to come again: not at once, and not so late that nobody does.
        const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
        let left = self.ends.first_key_value().map_or(0, |((end, _), _)| end - now.as_millisecond());
        Duration::from_millis(u64::try_from(left).unwrap_or_default()).clamp(WAITS[0], WAITS[1])
    }
}

/// Who used which: with the lengths between, so that no two are the same text.
fn mark(tenant: &TenantId, signer: &str, id: &str) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    for part in [tenant.as_str(), signer, id] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut mark = [0; 32];
    mark.copy_from_slice(hash.finish().as_ref());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_tenant_has_as_much_room_again_as_of_its_proofs_have_ended() {
        let used = UsedProofs::with_capacity(at(0), 10, 2);
        let tenant = "acme".parse().unwrap();
        let use_up = |id: &str, end: i64, now: i64| {
            let (issued, end) = (at(0).as_millisecond(), at(end).as_millisecond());
            used.use_up(&tenant, "signer", id, issued, end, at(now))
        };
        assert_eq!(use_up("a", 5, 0), Ok(()));
        assert_eq!(use_up("b", 9, 0), Ok(()));
        let full = use_up("c", 9, 2).unwrap_err();
        assert_eq!(full.retry_after(), Some(Duration::from_secs(3)), "until the first of them ends");
        assert_eq!(use_up("c", 9, 5), Ok(()));
        assert_eq!(use_up("d", 9, 5).unwrap_err().code(), "replay_memory_full");
    }

    #[test]
    fn a_proof_is_known_by_tenant_signer_and_id_and_not_by_their_letters_in_a_row() {
        let now = at(0);
        let used = UsedProofs::new(now);
        let use_up = |tenant: &str, signer: &str, id: &str| {
            let (tenant, at) = (tenant.parse().unwrap(), now.as_millisecond());
            used.use_up(&tenant, signer, id, at, at + 1000, now).map_err(|fault| fault.code())
        };
        assert_eq!(use_up("acme", "ab", "c"), Ok(()));
        assert_eq!(use_up("acme", "ab", "c"), Err("replayed"));
        for (tenant, signer, id) in
            [("globex", "ab", "c"), ("acme", "b", "c"), ("acme", "ab", "d"), ("acme", "a", "bc")]
        {
            assert_eq!(use_up(tenant, signer, id), Ok(()), "{tenant} {signer} {id}");
        }
    }
}
