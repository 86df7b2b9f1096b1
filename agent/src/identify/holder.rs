//! Who holds an API key.

use super::{
    fault::IdentityFault,
    principal::{KeyBounds, Principal},
};
use attach_proto::{bundle::ApiKey, usage::PrincipalKind};
use jiff::Timestamp;

/// The holder, and until when the secret is good (Unix time in milliseconds). `sha256` is that of the secret that was sent:
/// while a key is rotated it has two.
///
/// # Errors
/// The key, or this secret of it, has ended.
pub(super) fn holder(
    key: &ApiKey,
    sha256: &[u8; 32],
    now: Timestamp,
) -> Result<(Principal, i64), IdentityFault> {
    let replaced = key.previous.filter(|previous| previous.sha256 == *sha256).map(|previous| previous.until);
    let ends = [key.expires_at, replaced].into_iter().flatten().min();
    if let Some(at) = ends.filter(|at| *at <= now) {
        return Err(IdentityFault::ExpiredApiKey { key: key.id.clone(), at });
    }
    let principal = Principal {
        key: Some(key.id.clone()),
        groups: key.groups.clone(),
        bounds: Some(KeyBounds {
            permissions: key.permissions.clone(),
            models: key.models.clone(),
            act_as: key.act_as,
        }),
        ..Principal::new(key.tenant.clone(), PrincipalKind::Key, key.owner.clone())
    };
    Ok((principal, ends.map_or(i64::MAX, Timestamp::as_millisecond)))
}
