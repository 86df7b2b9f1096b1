//! A token that a DID has signed for itself.

use super::{
    super::{
        check::{self, Check},
        claims::Claims,
        excerpt::Excerpt,
        fault::IdentityFault,
        issuer_keys::IssuerKeys,
        issuers::Issuers,
        prove::Evidence,
        token::Token,
        verify::{self, held_with_key, not_applied},
        witness::Witness,
    },
    Proven, key, proven, tenant_of,
    times::Times,
};
use crate::clock::Clock;
use attach_proto::{
    bundle::Algorithm,
    did::{Did, InvalidDid, Method, PublicKey},
};
use serde_json::Value;
use std::sync::Arc;

/// A UUID has 36, a JWT ID of a careful maker 64.
const MAX_TOKEN_ID_BYTES: usize = 128;

pub(super) async fn verify<W: Witness>(
    text: &str,
    evidence: Evidence<'_>,
    witness: &mut W,
) -> Result<Proven, IdentityFault> {
    let Evidence { snapshot, issuers, used: _, clock } = evidence;
    let token = witness.must(check::FORM, Token::parse(text))?;
    let claims = witness.must(&[Check::Claims], Claims::parse(&token.payload))?;
    let issuer = witness.must(&[Check::Issuer], claims.issuer())?;
    let parsed = issuer
        .parse()
        .map_err(|problem: InvalidDid| IdentityFault::BadDid { did: Excerpt::of(issuer), problem });
    let did: Did = witness.must(&[Check::Did], parsed)?;
    witness.may(&[Check::DidSubject], check_subject(&claims, &did), Some(()))?;
    let audiences = audiences(&claims).ok_or(IdentityFault::MissingAudience);
    let meant = audiences.and_then(|audiences| tenant_of(&did, &audiences, snapshot));
    let (tenant, policy) = witness.must(check::DID_MEANT, meant)?;
    let times = times(&claims);
    let written = times.as_ref().ok().copied();
    let times = times.and_then(|times| times.check(clock.now(), policy).map(|()| times));
    let times = witness.may(check::DID_TIMES, times, written)?;
    // RFC 7800: bound to another key, it is nothing without the proof of that.
    let unbound = claims.get("cnf").map_or(Ok(()), |_| Err(IdentityFault::ConfirmationUnproven));
    witness.may(&[Check::Binding], unbound, Some(()))?;
    let token_id = claims.text("jti").filter(|id| !id.is_empty() && id.len() <= MAX_TOKEN_ID_BYTES);
    if policy.one_time {
        witness.must(&[Check::ProofId], token_id.ok_or(IdentityFault::MissingTokenId))?;
    }

    let keys = match did.method() {
        Method::Key(key) => check_signature(&did, key, &token).map(|()| None),
        Method::Pkh(_) => Err(IdentityFault::AccountToken(Excerpt::of(issuer))),
        Method::Web(_) => check_by_document(&did, &token, issuers, clock).await.map(Some),
    };
    let keys = witness.must(check::DID_SIGNATURE, keys)?;
    let proven = proven(&did, (tenant, policy), token_id, &times, evidence, witness)?;
    Ok(Proven { keys, ..proven })
}

/// By a key of the DID's document, which is kept as an issuer's keys are: one that is not in it makes it be fetched again,
/// at the same pace.
async fn check_by_document(
    did: &Did,
    token: &Token<'_>,
    issuers: &Issuers,
    clock: &Clock,
) -> Result<(Arc<IssuerKeys>, u64), IdentityFault> {
    let algorithm = token.header.algorithm;
    if !matches!(algorithm, Algorithm::EdDsa | Algorithm::Es256) {
        return Err(IdentityFault::AlgorithmNotAllowed(Excerpt::of(algorithm.name())));
    }
    let keys = issuers.keys_of_did(did).ok_or_else(|| not_applied(did.as_str()))?;
    let held = held_with_key(&keys, did.as_str(), &token.header, clock).await?;
    verify::check_signature(&held, token)?;
    let generation = held.generation;
    Ok((keys, generation))
}

/// Who signs for itself can name nobody else.
fn check_subject(claims: &Claims, did: &Did) -> Result<(), IdentityFault> {
    match claims.get("sub") {
        None => Ok(()),
        Some(Value::String(subject)) if subject == did.as_str() => Ok(()),
        Some(other) => {
            let subject = other.as_str().map_or_else(|| Excerpt::of(&other.to_string()), Excerpt::of);
            Err(IdentityFault::ForeignSubject { did: Excerpt::of(did.as_str()), subject })
        }
    }
}

/// `None` for what is neither a string nor a list of some.
fn audiences(claims: &Claims) -> Option<Vec<&str>> {
    let audiences = match claims.get("aud")? {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().map(Value::as_str).collect::<Option<_>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    (!audiences.is_empty()).then_some(audiences)
}

fn times(claims: &Claims) -> Result<Times, IdentityFault> {
    Ok(Times {
        expires: claims.time("exp")?.ok_or(IdentityFault::MissingExpiry)?,
        issued: claims.time("iat")?.ok_or(IdentityFault::MissingIssueTime)?,
        not_before: claims.time("nbf")?,
    })
}

/// A `did:key` has one key, whose id is the DID with its own last part again behind a `#`.
fn check_signature(did: &Did, public: &PublicKey, token: &Token<'_>) -> Result<(), IdentityFault> {
    let kid = token.header.key_id.as_deref();
    let shown = || (Excerpt::of(did.as_str()), Excerpt::of(kid.unwrap_or_default()));
    let is_its_key = |kid: &str| {
        let fragment = kid.strip_prefix(did.as_str()).unwrap_or_default();
        kid == did.as_str() || fragment.strip_prefix('#') == did.as_str().strip_prefix("did:key:")
    };
    if kid.is_some_and(|kid| !is_its_key(kid)) {
        let (issuer, kid) = shown();
        return Err(IdentityFault::UnknownKey { issuer, kid });
    }
    if token.header.algorithm != key::algorithm(public.kind) {
        let ((issuer, kid), algorithm) = (shown(), token.header.algorithm);
        return Err(IdentityFault::KeyNotForAlgorithm { issuer, kid, algorithm });
    }
    if key::verifies(public, token.signed, &token.signature) {
        Ok(())
    } else {
        let (issuer, kid) = shown();
        Err(IdentityFault::BadSignature { issuer, kid })
    }
}
