//! Who is told how each check went: a request, which ends at the first that fails, or somebody who wants to know them all.
//!
//! There is one order of checks, which is the order in which the code makes them. An explanation goes the same way as a
//! request does, and so cannot say anything else.

use super::{check::Check, fault::IdentityFault};
use attach_proto::bundle::IdentityProvider;

pub(super) trait Witness {
    /// A step that made these checks, in this order. Nothing can be said beyond it once it failed.
    fn must<T>(
        &mut self,
        checks: &'static [Check],
        outcome: Result<T, IdentityFault>,
    ) -> Result<T, IdentityFault>;

    /// One beyond which more can be looked at: with `stand_in`, if there is one, for the value that it did not yield.
    fn may<T>(
        &mut self,
        checks: &'static [Check],
        outcome: Result<T, IdentityFault>,
        stand_in: Option<T>,
    ) -> Result<T, IdentityFault>;

    /// What the steps came to: a stand-in proves nobody, so `value` is given out only when no step failed.
    fn verdict<T>(&self, value: T) -> Result<T, IdentityFault>;

    /// As what the credential is checked from here on: by these, in this order.
    fn takes_it_for(&mut self, _kind: Kind) {}

    /// By whose rules the token is checked from here on.
    fn goes_by(&mut self, _provider: &IdentityProvider) {}

    /// Whether a proof that serves once is used up by being shown here.
    fn uses_up(&self) -> bool;
}

/// What a credential is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ApiKey,
    Token,
    /// A DID and nothing else.
    BareDid,
    DidToken,
    /// That a wallet has signed.
    DidMessage,
}

/// A request: the first failure is its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstFailure;

impl Witness for FirstFailure {
    fn must<T>(
        &mut self,
        _: &'static [Check],
        outcome: Result<T, IdentityFault>,
    ) -> Result<T, IdentityFault> {
        outcome
    }

    fn may<T>(
        &mut self,
        _: &'static [Check],
        outcome: Result<T, IdentityFault>,
        _: Option<T>,
    ) -> Result<T, IdentityFault> {
        outcome
    }

    fn verdict<T>(&self, value: T) -> Result<T, IdentityFault> {
        Ok(value)
    }

    fn uses_up(&self) -> bool {
        true
    }
}
