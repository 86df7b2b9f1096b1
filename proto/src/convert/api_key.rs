//! `v1::ApiKey` to [`ApiKey`].

use super::{Invalid, id, ids, moment};
use crate::{
    bundle::{ApiKey, Permission, PreviousSecret},
    v1,
};
use std::collections::HashSet;

/// What a key may be used for beside its permissions.
const ACT_AS: &str = "act_as";

pub(super) fn api_key(wire: v1::ApiKey) -> Result<ApiKey, Invalid> {
    let v1::ApiKey {
        id: key_id,
        tenant,
        sha256,
        owner,
        groups,
        expires_at,
        scopes,
        models,
        previous_sha256,
        previous_until,
    } = wire;
    let (permissions, act_as) = read_scopes(&scopes)?;
    Ok(ApiKey {
        id: id(&key_id, "id")?,
        tenant: id(&tenant, "tenant")?,
        sha256: digest(&sha256, "sha256")?,
        previous: match (previous_sha256.as_str(), moment(previous_until, "previous_until")?) {
            ("", None) => None,
            ("", Some(_)) => {
                return Err(Invalid::new("previous_until", "is of no use without previous_sha256"));
            }
            (_, None) => {
                return Err(Invalid::new("previous_until", "is missing: a secret that was replaced ends"));
            }
            (text, Some(until)) => Some(PreviousSecret { sha256: digest(text, "previous_sha256")?, until }),
        },
        owner: if owner.is_empty() { key_id } else { owner },
        groups,
        permissions,
        act_as,
        models: ids(&models, "models")?,
        expires_at: moment(expires_at, "expires_at")?,
    })
}

fn read_scopes(scopes: &[String]) -> Result<(Vec<Permission>, bool), Invalid> {
    let mut permissions = Vec::new();
    for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| *scope != ACT_AS) {
        let known = [Permission::Inference, Permission::Read, Permission::Admin];
        let permission = known.into_iter().find(|known| known.name() == scope).ok_or_else(|| {
            let problem = format!("must be one of inference, read, admin, {ACT_AS}");
            Invalid::new(format!("scopes[{index}]"), problem)
        })?;
        permissions.push(permission);
    }
    if permissions.is_empty() {
        // Also beside `act_as` alone, which says on whose behalf and not what.
        permissions = vec![Permission::Inference, Permission::Read];
    }
    Ok((permissions, scopes.iter().any(|scope| scope == ACT_AS)))
}

fn digest(hex: &str, field: &str) -> Result<[u8; 32], Invalid> {
    sha256_digest(hex)
        .ok_or_else(|| Invalid::new(field, "must be 64 hexadecimal digits: the SHA-256 of the key"))
}

fn sha256_digest(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(*pair.first()?).to_digit(16)?;
        let low = char::from(*pair.get(1)?).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(digest)
}

/// One secret must lead to one key.
pub(super) fn check_unique(keys: &[ApiKey]) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for (index, key) in keys.iter().enumerate() {
        let previous = key.previous.map(|previous| ("previous_sha256", previous.sha256));
        for (field, sha256) in [("sha256", key.sha256)].into_iter().chain(previous) {
            if !seen.insert(sha256) {
                return Err(Invalid::new(
                    format!("keys[{index}].{field}"),
                    "is the same key as an earlier one",
                ));
            }
        }
    }
    Ok(())
}
