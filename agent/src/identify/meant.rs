//! For whom a token is meant: from issuer, audience and organisation to the one provider, and so to the tenant.

use super::{claims::Claims, excerpt::Excerpt, fault::IdentityFault};
use crate::snapshot::{Meant, OfIssuer, Snapshot};
use attach_proto::bundle::IdentityProvider;

/// # Errors
/// None, or more than one: then the tenant would depend on the order of the bundle.
pub(super) fn provider<'a>(
    claims: &Claims,
    of_issuer: &'a OfIssuer,
    snapshot: &'a Snapshot,
) -> Result<&'a IdentityProvider, IdentityFault> {
    let mut shown = Vec::new();
    let mut meant = None;
    for (claim, by_audience) in of_issuer.by_audience() {
        let Some(audiences) = audiences(claims, claim) else { continue };
        for &audience in &audiences {
            let Some(of_audience) = by_audience.get(audience) else { continue };
            let index = match of_audience {
                Meant::One(index) => *index,
                Meant::ByOrganisation { claim, organisations } => organisation(claims, claim, organisations)?,
            };
            if meant.is_some_and(|other| other != index) {
                return Err(IdentityFault::AmbiguousAudience(Excerpt::of(&audiences.join(" "))));
            }
            meant = Some(index);
        }
        shown.extend(audiences);
    }
    match meant.and_then(|index| snapshot.bundle().identity_providers.get(index)) {
        Some(provider) => Ok(provider),
        None if shown.is_empty() => Err(IdentityFault::MissingAudience),
        None => Err(IdentityFault::WrongAudience(Excerpt::of(&shown.join(" ")))),
    }
}

/// The only one that tokens of this issuer can be meant for; `None` when there are several.
pub(super) fn only_provider<'a>(
    of_issuer: &'a OfIssuer,
    snapshot: &'a Snapshot,
) -> Option<&'a IdentityProvider> {
    let mut indexes =
        of_issuer.by_audience().flat_map(|(_, by_audience)| by_audience.values()).flat_map(|meant| {
            let (one, several) = match meant {
                Meant::One(index) => (Some(index), None),
                Meant::ByOrganisation { organisations, .. } => (None, Some(organisations.values())),
            };
            one.into_iter().chain(several.into_iter().flatten())
        });
    let first = indexes.next()?;
    let provider = indexes.all(|other| other == first).then_some(*first)?;
    snapshot.bundle().identity_providers.get(provider)
}

/// `None` when absent, empty, or anything but a string or a list of strings: an empty list is no permission
/// (Hydra sends one unless asked for more).
fn audiences<'a>(claims: &'a Claims, claim: &attach_proto::bundle::ClaimPath) -> Option<Vec<&'a str>> {
    if claim.look_up(claims.members())?.is_object() {
        return None;
    }
    claims.texts(claim).filter(|audiences| !audiences.is_empty())
}

/// The provider of the token's organisation. A user may be in several: then exactly one of them must lead somewhere.
fn organisation(
    claims: &Claims,
    claim: &attach_proto::bundle::ClaimPath,
    providers: &foldhash::HashMap<String, usize>,
) -> Result<usize, IdentityFault> {
    let named = claims.texts(claim).unwrap_or_default();
    let mut meant = named.iter().filter_map(|organisation| providers.get(*organisation));
    let shown = || Excerpt::of(&named.join(" "));
    match (meant.next(), meant.next()) {
        (Some(&index), None) => Ok(index),
        (Some(_), Some(_)) => Err(IdentityFault::AmbiguousOrganisation(shown())),
        (None, _) => Err(IdentityFault::WrongOrganisation(shown())),
    }
}
