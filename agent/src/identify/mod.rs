//! Who calls: from the request's headers to a [`Principal`], by evidence alone.
//!
//! A credential is an API key of the bundle, or else a signed token of one of its issuers. Of a token nothing is
//! believed until its signature is verified with a key that its issuer publishes (`verify`); the keys are fetched
//! beside the requests (`renew`) and outlive their issuer's absence.

mod cache;
mod claims;
mod credential;
mod demands;
mod discovery;
mod excerpt;
mod fault;
mod holder;
mod issuer_keys;
mod issuers;
mod json;
mod key;
mod key_file;
mod key_set;
mod kind;
mod mapping;
mod meant;
mod pace;
mod principal;
mod renew;
#[cfg(test)]
mod tests;
mod token;
mod verify;

pub(crate) use fault::IdentityFault;
pub(crate) use issuers::{IssuerStatus, Issuers};
pub(crate) use key_set::check_key_sets;
pub(crate) use principal::{KeyBounds, Principal};

use crate::{clock::Clock, snapshot::Snapshot};
use aws_lc_rs::digest::{SHA256, digest};
use cache::{Entry, VerifiedCallers};
use holder::holder;
use http::HeaderMap;
use std::{cell::RefCell, rc::Rc, sync::Arc};
use verify::{Verified, verify};

/// One for each core.
pub(crate) struct Identifier {
    issuers: Arc<Issuers>,
    clock: Clock,
    verified: RefCell<VerifiedCallers>,
}

impl Identifier {
    pub(crate) fn new(issuers: Arc<Issuers>, clock: Clock) -> Self {
        Self { issuers, clock, verified: RefCell::default() }
    }

    /// The caller whom the request's one credential proves.
    ///
    /// Waits only when a token names a key that its issuer must be asked for, and then for 5 s at most.
    ///
    /// # Errors
    /// The first check that failed. All are the caller's fault (401), but for an issuer that cannot be asked (503).
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        snapshot: &Snapshot,
    ) -> Result<Rc<Principal>, IdentityFault> {
        let credential = credential::credential(headers)?;
        let hash = sha256(credential);
        let revision = snapshot.bundle().revision;
        let now = self.clock.now();
        let cached = self.verified.borrow_mut().get(&hash, revision, now);
        if let Some(principal) = cached {
            return Ok(principal);
        }
        let (principal, valid_until, keys) = if let Some(key) = snapshot.key(&hash) {
            let (principal, valid_until) = holder(key, &hash, now)?;
            (principal, valid_until, None)
        } else {
            // What is no text is no token either: an empty one has no parts.
            let token = str::from_utf8(credential).unwrap_or_default();
            let Verified { principal, valid_until, keys, generation } =
                // Boxed: it is rare, and would make each request's future larger.
                Box::pin(verify(token, snapshot, &self.issuers, &self.clock)).await?;
            (principal, valid_until, Some((keys, generation)))
        };
        let principal = Rc::new(principal);
        let entry = Entry { principal: Rc::clone(&principal), revision, valid_until, keys };
        self.verified.borrow_mut().insert(hash, entry);
        Ok(principal)
    }
}

fn sha256(credential: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, credential).as_ref());
    hash
}
