//! A token that a DID has signed for itself.

use super::{
    super::{claims::Claims, excerpt::Excerpt, fault::IdentityFault, issuers::Issuers, token::Token},
    Proven, UsedProofs, key, proven, tenant_of,
    times::Times,
};
use crate::{clock::Clock, snapshot::Snapshot};
use attach_proto::did::{Did, InvalidDid, Method, PublicKey};
use serde_json::Value;

/// A UUID has 36, a JWT ID of a careful maker 64.
const MAX_TOKEN_ID_BYTES: usize = 128;

pub(super) async fn verify(
    text: &str,
    snapshot: &Snapshot,
    _issuers: &Issuers,
    used: &UsedProofs,
    clock: &Clock,
) -> Result<Proven, IdentityFault> {
    let token = Token::parse(text)?;
    let claims = Claims::parse(&token.payload)?;
    let issuer = claims.issuer()?;
    let did: Did = issuer
        .parse()
        .map_err(|problem: InvalidDid| IdentityFault::BadDid { did: Excerpt::of(issuer), problem })?;
    check_subject(&claims, &did)?;
    let audiences = claims.audiences().ok_or(IdentityFault::MissingAudience)?;
    let (tenant, policy) = tenant_of(&did, &audiences, snapshot)?;
    let times = times(&claims)?;
    times.check(clock.now(), policy)?;
    claims.check_use()?;
    let token_id = claims.text("jti").filter(|id| !id.is_empty() && id.len() <= MAX_TOKEN_ID_BYTES);
    if policy.one_time && token_id.is_none() {
        return Err(IdentityFault::MissingTokenId);
    }

    match did.method() {
        Method::Key(key) => check_signature(&did, key, &token)?,
        Method::Pkh(_) => return Err(IdentityFault::AccountToken(Excerpt::of(issuer))),
        Method::Web(_) => return Err(IdentityFault::AccountToken(Excerpt::of(issuer))),
    }
    proven(&did, (tenant, policy), token_id, &times, used, clock)
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

fn times(claims: &Claims) -> Result<Times, IdentityFault> {
    Ok(Times {
        expires: claims.time("exp")?.ok_or(IdentityFault::MissingExpiry)?,
        issued: claims.time("iat")?.ok_or(IdentityFault::MissingIssuedAt)?,
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
