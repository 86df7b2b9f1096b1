//! Callers whose credential was verified a moment ago, on one core.

use super::{issuer_keys::IssuerKeys, principal::Principal};
use attach_proto::id::Revision;
use foldhash::HashMap;
use jiff::Timestamp;
use std::{mem, rc::Rc, sync::Arc};

/// Half of what is kept. A usual caller takes about 1 KiB, so 10,000 are 10 MiB a core; were every token as large as
/// tokens may be, they would be 160 MiB.
const HALF: usize = 5_000;

/// Keyed by the SHA-256 of the whole credential: no part of one stands for all of it (CVE-2026-35030). Whom a caller names
/// is not here, so it can't be mixed up.
///
/// In two halves: what is used moves into the young one, and when that is full the old one is dropped whole. So
/// what was not used for at least [`HALF`] others goes, at no cost but that of a swap.
#[derive(Debug, Default)]
pub(super) struct VerifiedCallers {
    young: HashMap<[u8; 32], Entry>,
    old: HashMap<[u8; 32], Entry>,
}

/// A caller, and all that the verdict stands on.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) principal: Rc<Principal>,
    pub(super) revision: Revision,
    /// Unix time in milliseconds.
    pub(super) valid_until: i64,
    /// For tokens: whose keys verified it, and their generation.
    pub(super) keys: Option<(Arc<IssuerKeys>, u64)>,
}

impl VerifiedCallers {
    /// A withdrawn key, another bundle or the end of the token ends the entry at once.
    pub(super) fn get(
        &mut self,
        hash: &[u8; 32],
        revision: Revision,
        now: Timestamp,
    ) -> Option<Rc<Principal>> {
        if let Some(entry) = self.young.get(hash) {
            return entry.holds(revision, now).then(|| Rc::clone(&entry.principal));
        }
        let entry = self.old.remove(hash).filter(|entry| entry.holds(revision, now))?;
        let principal = Rc::clone(&entry.principal);
        self.insert(*hash, entry);
        Some(principal)
    }

    pub(super) fn insert(&mut self, hash: [u8; 32], entry: Entry) {
        if self.young.len() >= HALF {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(hash, entry);
    }
}

impl Entry {
    fn holds(&self, revision: Revision, now: Timestamp) -> bool {
        self.revision == revision
            && now.as_millisecond() < self.valid_until
            && self.keys.as_ref().is_none_or(|(keys, generation)| keys.is_current(*generation, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::usage::PrincipalKind;

    fn hash(number: usize) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    fn principal() -> Rc<Principal> {
        Rc::new(Principal::new("acme".parse().unwrap(), PrincipalKind::User, "alice".to_owned()))
    }

    #[test]
    fn a_flood_of_callers_is_bounded_and_who_calls_again_and_again_stays() {
        let principal = principal();
        let entry = || Entry {
            principal: Rc::clone(&principal),
            revision: Revision(1),
            valid_until: i64::MAX,
            keys: None,
        };
        let mut callers = VerifiedCallers::default();
        for number in 0..10 * HALF {
            callers.insert(hash(number), entry());
            assert!(callers.get(&hash(0), Revision(1), Timestamp::UNIX_EPOCH).is_some(), "{number}");
        }
        assert!(callers.young.len() + callers.old.len() <= 2 * HALF);
        assert!(callers.get(&hash(1), Revision(1), Timestamp::UNIX_EPOCH).is_none());
    }

    #[test]
    fn an_entry_that_was_pushed_aside_ends_when_it_must_all_the_same() {
        let principal = principal();
        let entry = |revision, valid_until| Entry {
            principal: Rc::clone(&principal),
            revision: Revision(revision),
            valid_until,
            keys: None,
        };
        let ended = [("past its end", entry(1, 0)), ("of another bundle", entry(2, i64::MAX))];
        for (name, entry_that_ended) in ended {
            let mut callers = VerifiedCallers::default();
            callers.insert(hash(0), entry_that_ended);
            for number in 1..=HALF {
                callers.insert(hash(number), entry(1, i64::MAX));
            }
            assert!(callers.old.contains_key(&hash(0)), "{name}: it is in the old half");
            assert!(callers.get(&hash(0), Revision(1), Timestamp::UNIX_EPOCH).is_none(), "{name}");
        }
    }
}
