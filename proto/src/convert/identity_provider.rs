//! `v1::IdentityProvider` to [`IdentityProvider`].

use super::{Invalid, address, each, id, identity_product, known, positive_duration};
use crate::{
    bundle::{
        Algorithm, Bundle, ClaimMapping, ClaimPath, IdentityProvider, KeySource, Proof, Required,
        RequiredClaim, TokenType,
    },
    v1,
};
use std::collections::HashMap;

/// Of an issuer and of an audience. Both stand in keys of the control plane's database, which have 2,704 bytes.
pub(super) const MAX_URL_BYTES: usize = 1_024;

/// A set of 100 keys, which is as many as are read, has 60 KiB; with their certificates, 600.
pub(super) const MAX_JWKS_BYTES: usize = 1 << 20;

pub(super) fn identity_provider(wire: v1::IdentityProvider) -> Result<IdentityProvider, Invalid> {
    let v1::IdentityProvider {
        id: provider_id,
        tenant,
        issuer,
        audiences,
        algorithms,
        jwks_url,
        clock_skew,
        claims,
        product: _,
        token_types,
        required_scopes,
        required_claims,
        max_age,
        proofs,
        jwks,
        organisations,
        clients,
        audience_claim,
        key_source,
    } = identity_product::fill_in(wire)?;
    address(&issuer, &["https", "http"], "issuer")?;
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        return Err(Invalid::new("audiences", "needs at least one, and none may be empty"));
    }
    if issuer.len() > MAX_URL_BYTES || audiences.iter().any(|audience| audience.len() > MAX_URL_BYTES) {
        let problem = format!("must have at most {MAX_URL_BYTES} bytes, as each of the audiences");
        return Err(Invalid::new("issuer", problem));
    }
    let key_source = self::key_source(key_source)?;
    let claims = claim_mapping(claims.unwrap_or_default()).map_err(|error| error.below("claims"))?;
    if !organisations.is_empty() && claims.organisation.is_none() {
        return Err(Invalid::new("organisations", "is of no use without claims.organisation"));
    }
    for (field, texts) in
        [("organisations", &organisations), ("required_scopes", &required_scopes), ("clients", &clients)]
    {
        if let Some(index) = texts.iter().position(String::is_empty) {
            return Err(Invalid::new(format!("{field}[{index}]"), "is empty"));
        }
    }
    Ok(IdentityProvider {
        id: id(&provider_id, "id")?,
        tenant: id(&tenant, "tenant")?,
        issuer,
        audiences,
        audience_claim: path(or(&audience_claim, "/aud"), "audience_claim")?,
        algorithms: match algorithms.as_slice() {
            [] => IdentityProvider::DEFAULT_ALGORITHMS.to_vec(),
            named => named.iter().enumerate().map(algorithm).collect::<Result<_, _>>()?,
        },
        token_types: match token_types.as_slice() {
            [] => IdentityProvider::DEFAULT_TOKEN_TYPES.to_vec(),
            named => named.iter().enumerate().map(token_type).collect::<Result<_, _>>()?,
        },
        jwks_url: match jwks_url.as_str() {
            "" => None,
            _ if !jwks.is_empty() && key_source == KeySource::Gateway => {
                return Err(Invalid::new(
                    "jwks_url",
                    "and jwks are both given; which of them counts can't be told",
                ));
            }
            // It stands in a key of the control plane's database too.
            url if key_source == KeySource::ControlPlane && url.len() > MAX_URL_BYTES => {
                return Err(Invalid::new("jwks_url", format!("must have at most {MAX_URL_BYTES} bytes")));
            }
            url => Some(address(url, &["https", "http"], "jwks_url")?),
        },
        jwks: match jwks.as_str() {
            "" => None,
            text => Some(key_set(text)?.into()),
        },
        key_source,
        clock_skew: positive_duration(clock_skew, "clock_skew")?
            .unwrap_or(IdentityProvider::DEFAULT_CLOCK_SKEW),
        max_age: positive_duration(max_age, "max_age")?,
        required_scopes,
        required_claims: each(required_claims, "required_claims", |wire: v1::RequiredClaim| {
            let v1::RequiredClaim { claim, any_of, absent } = wire;
            let is = match (absent, any_of.is_empty()) {
                (true, true) => Required::Absent,
                (true, false) => {
                    return Err(Invalid::new("any_of", "says what a claim is that must be absent"));
                }
                (false, true) => Required::Present,
                (false, false) => Required::AnyOf(any_of),
            };
            Ok(RequiredClaim { claim: path(&claim, "claim")?, is })
        })?,
        clients,
        organisations,
        proofs: proofs.iter().enumerate().map(proof).collect::<Result<_, _>>()?,
        claims,
    })
}

fn algorithm((index, name): (usize, &String)) -> Result<Algorithm, Invalid> {
    Algorithm::from_name(name).filter(|known| Algorithm::ALL.contains(known)).ok_or_else(|| {
        let known: Vec<_> = Algorithm::ALL.iter().map(|known| known.name()).collect();
        Invalid::new(format!("algorithms[{index}]"), format!("{name:?} is not one of {}", known.join(", ")))
    })
}

fn token_type((index, value): (usize, &i32)) -> Result<TokenType, Invalid> {
    let field = format!("token_types[{index}]");
    match known(*value, &field)? {
        v1::TokenType::Unspecified => Err(Invalid::new(field, "is not specified")),
        v1::TokenType::AtJwt => Ok(TokenType::AtJwt),
        v1::TokenType::Jwt => Ok(TokenType::Jwt),
        v1::TokenType::Id => Ok(TokenType::Id),
    }
}

fn key_source(value: i32) -> Result<KeySource, Invalid> {
    match known(value, "key_source")? {
        v1::KeySource::Unspecified | v1::KeySource::Gateway => Ok(KeySource::Gateway),
        v1::KeySource::ControlPlane => Ok(KeySource::ControlPlane),
    }
}

fn proof((index, value): (usize, &i32)) -> Result<Proof, Invalid> {
    let field = format!("proofs[{index}]");
    match known(*value, &field)? {
        v1::Proof::Unspecified => Err(Invalid::new(field, "is not specified")),
        v1::Proof::Dpop => Ok(Proof::Dpop),
        v1::Proof::Certificate => Ok(Proof::Certificate),
    }
}

/// Its form alone: which of its keys can be used is for whoever uses them.
fn key_set(text: &str) -> Result<&str, Invalid> {
    if text.len() > MAX_JWKS_BYTES {
        return Err(Invalid::new("jwks", format!("is longer than {MAX_JWKS_BYTES} bytes")));
    }
    let document: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Invalid::new("jwks", format!("is no JSON Web Key Set: {error}")))?;
    match document.get("keys").and_then(serde_json::Value::as_array).map(Vec::len) {
        Some(1..) => Ok(text),
        Some(0) => Err(Invalid::new("jwks", "has no keys")),
        None => Err(Invalid::new("jwks", "is no JSON Web Key Set: it needs a list `keys`")),
    }
}

fn claim_mapping(wire: v1::ClaimMapping) -> Result<ClaimMapping, Invalid> {
    let v1::ClaimMapping { user, groups, project, forwarded, email, roles, organisation, cost_centre } = wire;
    let optional = |text: &str, field| if text.is_empty() { Ok(None) } else { path(text, field).map(Some) };
    Ok(ClaimMapping {
        user: path(or(&user, "/sub"), "user")?,
        groups: path(or(&groups, "/groups"), "groups")?,
        email: Some(path(or(&email, "/email"), "email")?),
        roles: Some(path(or(&roles, "/roles"), "roles")?),
        organisation: optional(&organisation, "organisation")?,
        project: optional(&project, "project")?,
        cost_centre: optional(&cost_centre, "cost_centre")?,
        forwarded: forwarded
            .iter()
            .enumerate()
            .map(|(index, text)| path(text, &format!("forwarded[{index}]")))
            .collect::<Result<_, _>>()?,
    })
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn path(text: &str, field: &str) -> Result<ClaimPath, Invalid> {
    ClaimPath::parse(text).ok_or_else(|| {
        Invalid::new(field, format!("{text:?} is not a JSON Pointer; write /{text} or see RFC 6901"))
    })
}

/// One (issuer, audience) must resolve to exactly one tenant, else a token could be read as either's. Where tenants share
/// them, the organisation decides, and by the same rule.
pub(super) fn check_audiences(bundle: &Bundle) -> Result<(), Invalid> {
    let mut first_with: HashMap<(&str, &str), usize> = HashMap::new();
    let mut taken: HashMap<(&str, &str, &str), usize> = HashMap::new();
    for (index, provider) in bundle.identity_providers.iter().enumerate() {
        let issuer = provider.issuer.strip_suffix('/').unwrap_or(&provider.issuer);
        for audience in &provider.audiences {
            let other = *first_with.entry((issuer, audience)).or_insert(index);
            if other != index {
                let Some(first) = bundle.identity_providers.get(other) else { continue };
                check_shared(first, other, provider, index, audience)?;
            }
            for organisation in &provider.organisations {
                if let Some(first) = taken.insert((issuer, audience, organisation), index)
                    && first != index
                {
                    let problem = format!(
                        "{organisation:?} of this issuer and audience is already taken by identity_providers[{first}]"
                    );
                    let path = format!("identity_providers[{index}].organisations");
                    return Err(Invalid::new(path, problem));
                }
            }
        }
    }
    Ok(())
}

/// Two providers of one issuer and audience: both must go by organisation, and read it at the same place.
fn check_shared(
    first: &IdentityProvider,
    first_index: usize,
    second: &IdentityProvider,
    index: usize,
    audience: &str,
) -> Result<(), Invalid> {
    if first.organisations.is_empty() || second.organisations.is_empty() {
        let problem = format!(
            "{audience:?} of this issuer is already taken by identity_providers[{first_index}]; tenants that share \
             an issuer and audience need `organisations` each"
        );
        return Err(Invalid::new(format!("identity_providers[{index}].audiences"), problem));
    }
    if !second.reads_organisations_as(first) {
        let problem = format!(
            "and audience_claim must be those of identity_providers[{first_index}], which has the same issuer and \
             audience"
        );
        return Err(Invalid::new(format!("identity_providers[{index}].claims.organisation"), problem));
    }
    Ok(())
}
