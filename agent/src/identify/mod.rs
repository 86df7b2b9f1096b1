//! Who calls: from the request's headers to a [`Principal`], by evidence alone.
//!
//! A credential is an API key of the bundle, or a proof of a DID (`did`), or else a signed token of one of its issuers. The
//! holder of a key that may act for others can name one of them; that is the one thing which a header decides. Of a token
//! nothing is believed until its signature is verified with a key that its issuer publishes (`verify`); the keys are
//! fetched beside the requests (`renew`), or by the control plane (`pushed`), and outlive their issuer's absence.
//!
//! The order of the checks is that of the code (`prove`). A `witness` hears how each went, so that who asks why somebody is
//! refused (`explain`) goes the way of a request.

mod advice;
mod cache;
mod check;
mod claims;
mod credential;
mod demand_budget;
mod demands;
mod did;
mod explain;
mod fault;
mod holder;
mod issuer_keys;
mod issuers;
mod key_file;
mod kind;
mod mapping;
mod meant;
mod named_user;
mod possession;
mod principal;
mod proof;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod prove;
mod pushed;
mod renew;
mod source;
#[cfg(test)]
mod tests;
mod token;
mod used;
mod verify;
mod witness;

pub(crate) use attach_issuer::key_set::check_key_sets;
pub(crate) use explain::{Explained, Outcome, Row, explain};
pub(crate) use fault::IdentityFault;
pub(crate) use issuers::{IssuerStatus, Issuers};
pub(crate) use principal::{KeyBounds, Principal};
pub(crate) use pushed::{Answer as KeyAnswer, Question as KeyQuestion};
pub(crate) use used::UsedProofs;

use crate::{clock::Clock, snapshot::Snapshot};
use attach_issuer::{excerpt, json, key, key_set, pace};
use aws_lc_rs::digest::{SHA256, digest};
use cache::{Entry, VerifiedCallers};
use credential::{Credential, Scheme, credential};
use http::request::Parts;
use named_user::NamedUser;
use prove::{Evidence, Proved, check_key_form, prove};
use std::{cell::RefCell, rc::Rc, sync::Arc};
use witness::FirstFailure;

/// One for each core.
pub(crate) struct Identifier {
    issuers: Arc<Issuers>,
    used: Arc<UsedProofs>,
    clock: Clock,
    /// Whether callers reach us over TLS that ends here.
    ends_tls: bool,
    verified: RefCell<VerifiedCallers>,
}

impl Identifier {
    pub(crate) fn new(issuers: Arc<Issuers>, used: Arc<UsedProofs>, clock: Clock) -> Self {
        Self { issuers, used, clock, ends_tls: false, verified: RefCell::default() }
    }

    /// Callers reach it over TLS that ends here: what they say of an address in the clear is not of these requests.
    pub(crate) fn behind_own_tls(self, ends_tls: bool) -> Self {
        Self { ends_tls, ..self }
    }

    /// The caller whom the request's one credential proves, or the end user whom that caller may name and names.
    ///
    /// Waits only when a token names a key that its issuer must be asked for, and then for 5 s at most.
    ///
    /// # Errors
    /// The first check that failed. All are the caller's fault, but for an issuer that cannot be asked (503).
    pub(crate) async fn identify(
        &self,
        head: &Parts,
        snapshot: &Snapshot,
    ) -> Result<Rc<Principal>, IdentityFault> {
        let credential = credential(&head.headers)?;
        let holder = self.holder(&credential, snapshot).await?;
        possession::check(&holder, &credential, head, self.ends_tls, &self.used, &self.clock)?;
        if !holder.bounds.as_ref().is_some_and(|bounds| bounds.act_as) {
            return Ok(holder);
        }
        // Made anew each time and kept nowhere: one user's verdict can't be another's, and whoever invents names fills nothing.
        Ok(match NamedUser::read(&head.headers)? {
            Some(named) => Rc::new(named.of(&holder)),
            None => holder,
        })
    }

    async fn holder(
        &self,
        credential: &Credential<'_>,
        snapshot: &Snapshot,
    ) -> Result<Rc<Principal>, IdentityFault> {
        let Credential { bytes, scheme } = credential;
        check_key_form(bytes)?;
        let hash = sha256(bytes);
        // Before what was verified is looked at: a token that came as a bearer does not come as a password.
        if *scheme == Scheme::Basic && snapshot.key(&hash).is_none() {
            return Err(IdentityFault::UnknownApiKey);
        }
        let revision = snapshot.bundle().revision;
        let now = self.clock.now();
        let cached = self.verified.borrow_mut().get(&hash, revision, now);
        if let Some(principal) = cached {
            return Ok(principal);
        }
        let (issuers, used, clock) = (&*self.issuers, &*self.used, &self.clock);
        let evidence = Evidence { snapshot, issuers, used, clock };
        let Proved { principal, valid_until, once, keys } =
            prove(credential, &hash, evidence, &mut FirstFailure).await?;
        if once {
            return Ok(Rc::new(principal));
        }
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
