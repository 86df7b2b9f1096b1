//! From a token to a caller. The order of the checks is part of what they promise: whatever the token itself shows
//! to be wrong costs no look-up of keys, and nothing is believed before the signature is.

use super::{
    check::{self, Check},
    claims::Claims,
    demands::{check_claims, check_scopes},
    excerpt::Excerpt,
    fault::IdentityFault,
    issuer_keys::{Held, IssuerKeys, Renewal},
    issuers::Issuers,
    key_set::Selected,
    kind::check_kind,
    mapping::{check_subject, principal},
    meant,
    possession::binding,
    principal::Principal,
    token::{Header, Token},
    witness::Witness,
};
use crate::{
    clock::Clock,
    snapshot::{OfIssuer, Snapshot},
};
use attach_proto::bundle::IdentityProvider;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A caller, and what the verdict stands on.
pub(super) struct Verified {
    pub(super) principal: Principal,
    /// Unix time in milliseconds.
    pub(super) valid_until: i64,
    pub(super) keys: Arc<IssuerKeys>,
    pub(super) generation: u64,
}

/// The order is the code's; `witness` hears how each check went.
pub(super) async fn verify<W: Witness>(
    text: &str,
    snapshot: &Snapshot,
    issuers: &Issuers,
    clock: &Clock,
    witness: &mut W,
) -> Result<Verified, IdentityFault> {
    let token = witness.must(check::FORM, Token::parse(text))?;
    let claims = witness.must(&[Check::Claims], Claims::parse(&token.payload))?;
    let (issuer, of_issuer) = witness.must(&[Check::Issuer], known_issuer(&claims, snapshot))?;
    // One that is for another audience is looked at by the only rules that it could be meant to keep.
    let meant = meant::provider(&claims, of_issuer, snapshot);
    let provider = witness.may(check::MEANT, meant, meant::only_provider(of_issuer, snapshot))?;
    witness.goes_by(provider);
    witness.may(&[Check::Algorithm], check_algorithm(&token.header, provider), Some(()))?;
    let times = claims.check_times(clock.now(), provider.clock_skew, provider.max_age);
    let valid_until = witness.may(&[Check::Times], times, Some(0))?;
    witness.may(&[Check::Kind], check_kind(&claims, &token.header, provider), Some(()))?;
    witness.may(check::DEMANDS, check_claims(&claims, provider), Some(()))?;
    let bound_to = witness.may(&[Check::Binding], binding(&claims, provider), Some(None))?;
    witness.may(&[Check::User], check_subject(&claims, provider), Some(()))?;

    let keys = issuers.keys_of(provider).ok_or_else(|| not_applied(issuer));
    let keys = witness.must(&[Check::KeysHeld], keys)?;
    let held = held_with_key(&keys, issuer, &token.header, clock).await;
    let held = witness.must(check::KEY, held)?;
    witness.must(&[Check::Signature], check_signature(&held, &token))?;
    witness.may(&[Check::Scopes], check_scopes(&claims, provider), Some(()))?;
    let principal = Principal { bound_to, ..principal(&claims, issuer, provider)? };
    witness.verdict(Verified { principal, valid_until, generation: held.generation, keys })
}

fn known_issuer<'a, 'b>(
    claims: &'a Claims,
    snapshot: &'b Snapshot,
) -> Result<(&'a str, &'b OfIssuer), IdentityFault> {
    let issuer = claims.issuer()?;
    let of_issuer = snapshot.of_issuer(issuer);
    Ok((issuer, of_issuer.ok_or_else(|| IdentityFault::UnknownIssuer(Excerpt::of(issuer)))?))
}

fn check_algorithm(header: &Header, provider: &IdentityProvider) -> Result<(), IdentityFault> {
    if provider.algorithms.contains(&header.algorithm) {
        return Ok(());
    }
    Err(IdentityFault::AlgorithmNotAllowed(Excerpt::of(header.algorithm.name())))
}

/// What is held of the issuer, once it has the token's key: asks the issuer when it has not.
pub(super) async fn held_with_key(
    keys: &IssuerKeys,
    issuer: &str,
    header: &Header,
    clock: &Clock,
) -> Result<Arc<Held>, IdentityFault> {
    if let Some(held) = usable(keys, issuer, header, clock)? {
        return Ok(held);
    }
    let mut renewal = keys.renewed().await;
    if let Some(held) = usable(keys, issuer, header, clock)? {
        return Ok(held);
    }
    if renewal == Renewal::Joined {
        renewal = keys.renewed().await;
        if let Some(held) = usable(keys, issuer, header, clock)? {
            return Ok(held);
        }
    }
    Err(missing(keys, issuer, header, renewal, clock))
}

/// `None` when newer keys may help.
fn usable(
    keys: &IssuerKeys,
    issuer: &str,
    header: &Header,
    clock: &Clock,
) -> Result<Option<Arc<Held>>, IdentityFault> {
    let Some(held) = keys.held(clock.now()) else {
        return Ok(None);
    };
    if held.issuer != issuer {
        return Err(IdentityFault::IssuerForm {
            found: Excerpt::of(issuer),
            expected: Excerpt::of(&held.issuer),
        });
    }
    match select(&held, header)? {
        Some(_) => Ok(Some(held)),
        None => Ok(None),
    }
}

fn select<'a>(
    held: &'a Held,
    header: &Header,
) -> Result<Option<&'a aws_lc_rs::signature::ParsedPublicKey>, IdentityFault> {
    let Header { algorithm, key_id, is_at_jwt: _ } = header;
    let issuer = || Excerpt::of(&held.issuer);
    match held.keys.select(key_id.as_deref(), *algorithm) {
        Selected::One(key) => Ok(Some(key)),
        Selected::Unknown => Ok(None),
        Selected::NotForAlgorithm => Err(IdentityFault::KeyNotForAlgorithm {
            issuer: issuer(),
            kid: shown_id(header),
            algorithm: *algorithm,
        }),
        Selected::Ambiguous => Err(IdentityFault::AmbiguousKey { issuer: issuer(), algorithm: *algorithm }),
    }
}

/// A key that the issuer was just asked for and does not have is the caller's fault; one that it could not be asked
/// for may yet be there.
fn missing(
    keys: &IssuerKeys,
    issuer: &str,
    header: &Header,
    renewal: Renewal,
    clock: &Clock,
) -> IdentityFault {
    let state = keys.state();
    let problem = match (renewal, state.failure.as_deref()) {
        (_, Some(failure)) => failure.to_string(),
        (Renewal::TimedOut, None) => "the issuer does not answer".to_owned(),
        (Renewal::OverBudget, None) => "too many unknown keys are asked for".to_owned(),
        (Renewal::Attempted | Renewal::Joined | Renewal::CoolingDown, None)
            if keys.held(clock.now()).is_some() =>
        {
            return IdentityFault::UnknownKey { issuer: Excerpt::of(issuer), kid: shown_id(header) };
        }
        (Renewal::Attempted | Renewal::Joined | Renewal::CoolingDown, None) => {
            "those held are too old".to_owned()
        }
    };
    let retry_after = state.next_attempt.saturating_duration_since(Instant::now());
    IdentityFault::IssuerUnavailable {
        issuer: Excerpt::of(issuer),
        problem: Excerpt::of(&problem),
        retry_after: retry_after.min(keys.pace.last_retry).max(Duration::from_secs(1)),
    }
}

pub(super) fn not_applied(issuer: &str) -> IdentityFault {
    IdentityFault::IssuerUnavailable {
        issuer: Excerpt::of(issuer),
        problem: Excerpt::of("the bundle that names it is not yet in force"),
        retry_after: Duration::from_secs(1),
    }
}

pub(super) fn check_signature(held: &Held, token: &Token<'_>) -> Result<(), IdentityFault> {
    match select(held, &token.header)? {
        Some(key) if key.verify_sig(token.signed, &token.signature).is_ok() => Ok(()),
        Some(_) | None => {
            let (issuer, kid) = (Excerpt::of(&held.issuer), shown_id(&token.header));
            Err(IdentityFault::BadSignature { issuer, kid })
        }
    }
}

fn shown_id(header: &Header) -> Excerpt {
    Excerpt::of(header.key_id.as_deref().unwrap_or_default())
}
