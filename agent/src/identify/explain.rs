//! Why a credential is good here, or why it is not: every check in its order.
//!
//! It goes the way of a request ([`prove`]), but on beyond the first failure where that can be done, and leaves nothing behind:
//! no proof is used up, nothing is counted and no verdict kept. An issuer may be asked for its keys, at the pace of all.

use super::{
    check::Check,
    credential::{Scheme, credential},
    fault::IdentityFault,
    issuers::Issuers,
    principal::Principal,
    prove::{Evidence, Proved, prove},
    sha256,
    used::UsedProofs,
    witness::{Kind, Witness},
};
use crate::{clock::Clock, snapshot::Snapshot};
use attach_proto::bundle::IdentityProvider;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// The one that a request is refused for.
    Failed,
    /// It comes after that one, and would fail too.
    AlsoFails,
    NotReached,
    NotApplicable,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) check: Check,
    pub(crate) outcome: Outcome,
    /// For the two that fail.
    pub(crate) fault: Option<IdentityFault>,
    /// What else is to be said of it; empty for most.
    pub(crate) note: String,
}

#[derive(Debug)]
pub(crate) struct Explained {
    /// `None` for what is no credential.
    pub(crate) kind: Option<Kind>,
    pub(crate) rows: Vec<Row>,
    /// `None` for one that is refused.
    pub(crate) caller: Option<Principal>,
    /// `None` for one that is refused, or good for ever.
    pub(crate) until: Option<Timestamp>,
}

impl Explained {
    /// Whether what it says was proved: its signature verifies, or it is a key that is known.
    pub(crate) fn is_verified(&self) -> bool {
        let proofs = [Check::Signature, Check::KeyKnown];
        self.rows.iter().any(|row| proofs.contains(&row.check) && row.outcome == Outcome::Passed)
    }
}

/// Takes a credential as somebody pastes it: alone or behind its scheme, also behind the header's name, and broken over lines.
pub(crate) async fn explain(
    pasted: &str,
    snapshot: &Snapshot,
    issuers: &Issuers,
    used: &UsedProofs,
    clock: &Clock,
) -> Explained {
    let headers = header_of(pasted);
    let mut account = Account::default();
    let read = headers.as_ref().ok_or(IdentityFault::TwoCredentials).and_then(credential);
    let Ok(credential) = account.must(&[Check::Credential], read) else {
        return account.end(None);
    };
    let hash = sha256(&credential.bytes);
    let evidence = Evidence { snapshot, issuers, used, clock };
    let mut proved = prove(&credential, &hash, evidence, &mut account).await.ok();
    if let Some(Proved { principal, .. }) = &proved {
        account.of_requests(principal, credential.scheme);
        proved = proved.filter(|_| account.verdict(()).is_ok());
    }
    account.end(proved)
}

/// `None` for what no header can hold.
fn header_of(pasted: &str) -> Option<HeaderMap> {
    let pasted = pasted.trim();
    let name = pasted.get(..14).filter(|name| name.eq_ignore_ascii_case("authorization:"));
    let pasted = pasted.get(name.map_or(0, str::len)..)?.trim_start();
    let schemes = ["bearer", "dpop", "basic"];
    let (first, rest) = pasted.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((pasted, ""));
    let is_scheme = schemes.iter().any(|scheme| first.eq_ignore_ascii_case(scheme));
    let (scheme, secret) = if is_scheme { (first, rest) } else { ("Bearer", pasted) };
    let secret: String = secret.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let mut value = HeaderValue::try_from(format!("{scheme} {secret}")).ok()?;
    value.set_sensitive(true);
    Some(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
}

/// Writes down how each check went.
#[derive(Debug, Default)]
pub(super) struct Account {
    kind: Option<Kind>,
    pub(super) rows: Vec<Row>,
    pub(super) first: Option<IdentityFault>,
    /// Those that the provider's settings demand nothing for.
    idle: Vec<Check>,
}

impl Account {
    fn write(&mut self, checks: &[Check], fault: Option<&IdentityFault>) {
        let of_fault = fault.map(IdentityFault::checks).unwrap_or_default();
        let is_of_fault = |check: &Check| of_fault.contains(check);
        let last = checks.last().filter(|_| !checks.iter().any(is_of_fault));
        for check in checks {
            let failed = fault.filter(|_| is_of_fault(check) || last == Some(check));
            let outcome = match failed {
                None => Outcome::Passed,
                Some(_) if self.first.is_none() => Outcome::Failed,
                Some(_) => Outcome::AlsoFails,
            };
            // A step may come back to a check that an earlier one began.
            self.rows.retain(|row| row.check != *check);
            self.rows.push(Row { check: *check, outcome, fault: failed.cloned(), note: String::new() });
            if failed.is_some() {
                break;
            }
        }
        self.first = self.first.take().or_else(|| fault.cloned());
    }

    fn note(&mut self, check: Check, note: impl Into<String>) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.check == check) {
            row.note = note.into();
        }
    }

    /// What is asked of each request beside its credential can't be answered without one.
    fn of_requests(&mut self, principal: &Principal, scheme: Scheme) {
        let bound_to = principal.bound_to.as_ref();
        if scheme == Scheme::Dpop && !bound_to.is_some_and(|binding| binding.is_to_key()) {
            self.write(&[Check::Possession], Some(&IdentityFault::NotBound));
        } else if let Some(binding) = bound_to {
            self.leave_to_requests(Check::Possession, binding.demand());
        }
        if principal.bounds.as_ref().is_some_and(|bounds| bounds.act_as) {
            self.leave_to_requests(
                Check::NamedUser,
                "its holder may name the user of each request by a header",
            );
        }
    }

    fn leave_to_requests(&mut self, check: Check, why: &str) {
        self.rows.push(Row { check, outcome: Outcome::NotReached, fault: None, note: why.to_owned() });
    }

    fn end(mut self, proved: Option<Proved>) -> Explained {
        let all = self.kind.map_or(&[Check::Credential][..], Kind::checks);
        let rows = all.iter().map(|check| {
            let found = self.rows.iter().position(|row| row.check == *check);
            let mut row = match found {
                Some(index) => self.rows.swap_remove(index),
                // All that was to be done was done, and this was not among it.
                None if self.first.is_none() => {
                    Row { check: *check, outcome: Outcome::NotApplicable, fault: None, note: String::new() }
                }
                None => Row { check: *check, outcome: Outcome::NotReached, fault: None, note: String::new() },
            };
            if row.outcome == Outcome::Passed && self.idle.contains(check) {
                row.outcome = Outcome::NotApplicable;
            }
            row
        });
        let rows = rows.collect();
        let until = proved.as_ref().and_then(|proved| Timestamp::from_millisecond(proved.valid_until).ok());
        Explained { kind: self.kind, rows, caller: proved.map(|proved| proved.principal), until }
    }
}

impl Witness for Account {
    fn must<T>(
        &mut self,
        checks: &'static [Check],
        outcome: Result<T, IdentityFault>,
    ) -> Result<T, IdentityFault> {
        self.write(checks, outcome.as_ref().err());
        outcome
    }

    fn may<T>(
        &mut self,
        checks: &'static [Check],
        outcome: Result<T, IdentityFault>,
        stand_in: Option<T>,
    ) -> Result<T, IdentityFault> {
        let outcome = self.must(checks, outcome);
        outcome.or_else(|fault| stand_in.ok_or(fault))
    }

    fn verdict<T>(&self, value: T) -> Result<T, IdentityFault> {
        self.first.clone().map_or(Ok(value), Err)
    }

    fn takes_it_for(&mut self, kind: Kind) {
        self.kind = Some(kind);
    }

    fn goes_by(&mut self, provider: &IdentityProvider) {
        let IdentityProvider { id, tenant, .. } = provider;
        let note = if self.first.is_none() {
            format!("identity provider {id} of tenant {tenant}")
        } else {
            format!("what follows goes by {id} of tenant {tenant}, the only provider of this issuer")
        };
        self.note(Check::Audience, note);
        let idle = [
            (Check::Organisation, provider.organisations.is_empty()),
            (Check::Client, provider.clients.is_empty()),
            (Check::RequiredClaims, provider.required_claims.is_empty()),
            (Check::Scopes, provider.required_scopes.is_empty()),
        ];
        self.idle = idle.into_iter().filter(|(_, is_idle)| *is_idle).map(|(check, _)| check).collect();
    }

    fn uses_up(&self) -> bool {
        false
    }
}
