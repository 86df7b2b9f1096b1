//! Whom a credential proves: what is known of it, looked up nowhere and kept nowhere.

use super::{
    check::Check,
    credential::{Credential, Scheme},
    did::{self, Proof, Proven},
    fault::IdentityFault,
    holder::holder,
    issuer_keys::IssuerKeys,
    issuers::Issuers,
    principal::Principal,
    used::UsedProofs,
    verify::{Verified, verify},
    witness::{Kind, Witness},
};
use crate::{clock::Clock, snapshot::Snapshot};
use attach_proto::key_text;
use std::sync::Arc;

/// What a credential is held against.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) issuers: &'a Issuers,
    pub(super) used: &'a UsedProofs,
    pub(super) clock: &'a Clock,
}

/// A caller, and what the verdict stands on.
pub(super) struct Proved {
    pub(super) principal: Principal,
    /// Unix time in milliseconds.
    pub(super) valid_until: i64,
    /// It was the one time.
    pub(super) once: bool,
    /// For tokens: whose keys verified it, and their generation.
    pub(super) keys: Option<(Arc<IssuerKeys>, u64)>,
}

/// `hash` is the SHA-256 of the credential.
pub(super) async fn prove<W: Witness>(
    credential: &Credential<'_>,
    hash: &[u8; 32],
    evidence: Evidence<'_>,
    witness: &mut W,
) -> Result<Proved, IdentityFault> {
    let Credential { bytes, scheme } = credential;
    let known = evidence.snapshot.key(hash);
    if known.is_some() || *scheme == Scheme::Basic || key_text::claims_to_be_key(bytes) {
        witness.takes_it_for(Kind::ApiKey);
        witness.must(&[Check::KeyForm], check_key_form(bytes))?;
        let key = witness.must(&[Check::KeyKnown], known.ok_or(IdentityFault::UnknownApiKey))?;
        let held = witness.must(&[Check::KeyTime], holder(key, hash, evidence.clock.now()));
        let (principal, valid_until) = held?;
        return witness.verdict(Proved { principal, valid_until, once: false, keys: None });
    }
    // Boxed: it is rare, and would make each request's future larger.
    if let Some(proof) = did::recognise(bytes, evidence.snapshot) {
        witness.takes_it_for(match proof {
            Proof::Nothing => Kind::BareDid,
            Proof::Message(_) => Kind::DidMessage,
            Proof::Token(_) => Kind::DidToken,
        });
        let Proven { principal, valid_until, once, keys } =
            Box::pin(did::verify(proof, evidence, witness)).await?;
        return Ok(Proved { principal, valid_until, once, keys });
    }
    witness.takes_it_for(Kind::Token);
    // What is no text is no token either: an empty one has no parts.
    let token = str::from_utf8(bytes).unwrap_or_default();
    let Verified { principal, valid_until, keys, generation } =
        Box::pin(verify(token, evidence.snapshot, evidence.issuers, evidence.clock, witness)).await?;
    Ok(Proved { principal, valid_until, once: false, keys: Some((keys, generation)) })
}

/// # Errors
/// What means to be a key of ours, and is not whole.
pub(super) fn check_key_form(credential: &[u8]) -> Result<(), IdentityFault> {
    if key_text::claims_to_be_key(credential) && !key_text::has_form(credential) {
        return Err(IdentityFault::MalformedApiKey);
    }
    Ok(())
}
