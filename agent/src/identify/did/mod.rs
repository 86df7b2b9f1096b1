//! Callers that prove a DID themselves, without an issuer that vouches for them.
//!
//! What is proved is the possession of a key, once for each proof: that its holder meant this gateway (the audience), at
//! this time. A DID that is only named proves nothing. All that such a caller says beside its DID is its own claim about
//! itself, and none of it is believed: it has no groups and no project.

pub(super) mod account;
pub(super) mod key;
pub(super) mod message;
mod times;
mod token;
pub(super) mod web;

pub(crate) use web::DocumentFault;

use super::{
    check::Check, excerpt::Excerpt, fault::IdentityFault, issuer_keys::IssuerKeys, principal::Principal,
    prove::Evidence, witness::Witness,
};
use crate::snapshot::{NoTenant, Snapshot};
use attach_proto::{
    bundle::Tenant,
    did::{Did, DidPolicy},
    usage::PrincipalKind,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};
use times::Times;

/// What a credential shows itself to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof<'a> {
    /// A DID and nothing else.
    Nothing,
    /// `caip122.`, and this behind it.
    Message(&'a str),
    Token(&'a str),
}

/// A caller, and what the verdict stands on.
pub(super) struct Proven {
    pub(super) principal: Principal,
    /// Unix time in milliseconds.
    pub(super) valid_until: i64,
    /// It was the one time.
    pub(super) once: bool,
    /// Of a `did:web`: what its document said.
    pub(super) keys: Option<(Arc<IssuerKeys>, u64)>,
}

/// By its shape; `None` for a credential of another kind. A token's claims are looked into only where a bundle lets DIDs
/// call, so that without them no other token pays for it.
pub(super) fn recognise<'a>(credential: &'a [u8], snapshot: &Snapshot) -> Option<Proof<'a>> {
    let text = str::from_utf8(credential).ok()?;
    if text.starts_with("did:") {
        return Some(Proof::Nothing);
    }
    if let Some(rest) = text.strip_prefix("caip122.") {
        return Some(Proof::Message(rest));
    }
    (snapshot.has_did_callers() && names_a_did(text)).then_some(Proof::Token(text))
}

/// Whether this is a token whose `iss` begins as a DID. What is no token, or says so in a way that is read differently
/// elsewhere, is refused by whoever reads it next.
fn names_a_did(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Issuer<'a> {
        #[serde(borrow)]
        iss: Cow<'a, str>,
    }
    let payload = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let payload = payload.unwrap_or_default();
    serde_json::from_slice(&payload).is_ok_and(|Issuer { iss }| iss.starts_with("did:"))
}

pub(super) async fn verify<W: Witness>(
    proof: Proof<'_>,
    evidence: Evidence<'_>,
    witness: &mut W,
) -> Result<Proven, IdentityFault> {
    match proof {
        Proof::Nothing => witness.must(&[Check::Form], Err(IdentityFault::BareDid)),
        Proof::Message(text) => message::verify(text, evidence, witness),
        Proof::Token(text) => token::verify(text, evidence, witness).await,
    }
}

/// For whom a DID calls by these audiences.
fn tenant_of<'a>(
    did: &Did,
    audiences: &[&str],
    snapshot: &'a Snapshot,
) -> Result<(&'a Tenant, &'a DidPolicy), IdentityFault> {
    let shown = || Excerpt::of(&audiences.join(" "));
    snapshot.did_caller(did, audiences).map_err(|reason| match reason {
        NoTenant::Audience => IdentityFault::DidAudience(shown()),
        NoTenant::NotAllowed => IdentityFault::DidNotAllowed(Excerpt::of(did.as_str())),
        NoTenant::Several => IdentityFault::AmbiguousAudience(shown()),
    })
}

/// To be called with a proof that was verified, or strangers could fill the memory of those that were used.
fn proven<W: Witness>(
    did: &Did,
    (tenant, policy): (&Tenant, &DidPolicy),
    proof_id: Option<&str>,
    times: &Times,
    evidence: Evidence<'_>,
    witness: &mut W,
) -> Result<Proven, IdentityFault> {
    let valid_until = times.valid_until();
    if policy.one_time {
        let id = proof_id.ok_or(IdentityFault::MissingTokenId)?;
        let (used, now) = (evidence.used, evidence.clock.now());
        let unused = if witness.uses_up() {
            used.use_up(&tenant.id, did.as_str(), id, times.issued, valid_until, now)
        } else {
            used.look(&tenant.id, did.as_str(), id, times.issued, now)
        };
        witness.must(&[Check::OneTime], unused)?;
    }
    let principal = Principal::new(tenant.id.clone(), PrincipalKind::Did, did.as_str().to_owned());
    witness.verdict(Proven { principal, valid_until, once: policy.one_time, keys: None })
}
