//! `v1::Bundle` to [`Bundle`].

use super::{Invalid, each, id, ids, known, pointer, positive_duration};
use crate::{
    bundle::{
        AccessRule, Algorithm, ApiKey, Bundle, ClaimMapping, Counter, Durability, IdentityProvider, Limit,
        LimitScope, Measure, Model, ModelTarget, Permission, QuotaOutage, QuotaStore, QuotaStoreKind, Tenant,
        Upstream, UpstreamKind, UpstreamTimeouts,
    },
    id::{ModelName, QuotaStoreId, Revision, TenantId, UpstreamId},
    v1,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};
use url::Url;

/// The shortest window that the sliding counters of both stores resolve well.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// Amounts stay exact as a Lua number (an IEEE double) in the quota store.
const MAX_AMOUNT: u64 = 1 << 53;

/// Of an issuer and of an audience. Both stand in keys of the control plane's database, which have 2,704 bytes.
const MAX_URL_BYTES: usize = 1_024;

pub(super) fn convert(wire: v1::Bundle) -> Result<Bundle, Invalid> {
    let v1::Bundle {
        revision,
        tenants,
        quota_stores,
        identity_providers,
        keys,
        models,
        limits,
        access_rules,
        upstreams,
        routes,
    } = wire;
    let bundle = Bundle {
        revision: Revision(revision),
        tenants: each(tenants, "tenants", tenant)?,
        quota_stores: each(quota_stores, "quota_stores", quota_store)?,
        identity_providers: each(identity_providers, "identity_providers", identity_provider)?,
        keys: each(keys, "keys", api_key)?,
        models: each(models, "models", model)?,
        limits: each(limits, "limits", limit)?,
        access_rules: each(access_rules, "access_rules", access_rule)?,
        upstreams: each(upstreams, "upstreams", upstream)?,
        routes: super::routes::convert(routes.unwrap_or_default()).map_err(|error| error.below("routes"))?,
    };
    check_unique(&bundle)?;
    check_references(&bundle)?;
    check_audiences(&bundle)?;
    Ok(bundle)
}

pub(super) fn tenant(wire: v1::Tenant) -> Result<Tenant, Invalid> {
    let v1::Tenant { id: tenant_id, name, quota_store, on_quota_outage, durability } = wire;
    Ok(Tenant {
        id: id(&tenant_id, "id")?,
        name: if name.is_empty() { tenant_id } else { name },
        quota_store: id(&quota_store, "quota_store")?,
        on_quota_outage: match known(on_quota_outage, "on_quota_outage")? {
            v1::QuotaOutage::Unspecified | v1::QuotaOutage::Deny => QuotaOutage::Deny,
            v1::QuotaOutage::Allow => QuotaOutage::Allow,
        },
        durability: match known(durability, "durability")? {
            v1::Durability::Unspecified | v1::Durability::Strict => Durability::Strict,
            v1::Durability::Relaxed => Durability::Relaxed,
        },
    })
}

pub(super) fn quota_store(wire: v1::QuotaStore) -> Result<QuotaStore, Invalid> {
    let v1::QuotaStore { id: store_id, store } = wire;
    let kind = match store {
        Some(v1::quota_store::Store::Local(v1::LocalStore {})) => QuotaStoreKind::Local,
        Some(v1::quota_store::Store::Redis(v1::RedisStore { url, call_budget })) => QuotaStoreKind::Redis {
            url: address(&url, &["redis", "rediss"], "redis.url")?,
            call_budget: positive_duration(call_budget, "redis.call_budget")?
                .unwrap_or(QuotaStoreKind::DEFAULT_CALL_BUDGET),
        },
        None => return Err(Invalid::new("", "needs `local: {}` or `redis: {url: …}`")),
    };
    Ok(QuotaStore { id: id(&store_id, "id")?, kind })
}

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
    } = wire;
    address(&issuer, &["https", "http"], "issuer")?;
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        return Err(Invalid::new("audiences", "needs at least one, and none may be empty"));
    }
    if issuer.len() > MAX_URL_BYTES || audiences.iter().any(|audience| audience.len() > MAX_URL_BYTES) {
        let problem = format!("must have at most {MAX_URL_BYTES} bytes, as each of the audiences");
        return Err(Invalid::new("issuer", problem));
    }
    let algorithms = match algorithms.as_slice() {
        [] => IdentityProvider::DEFAULT_ALGORITHMS.to_vec(),
        named => named.iter().enumerate().map(algorithm).collect::<Result<_, _>>()?,
    };
    Ok(IdentityProvider {
        id: id(&provider_id, "id")?,
        tenant: id(&tenant, "tenant")?,
        issuer,
        audiences,
        algorithms,
        jwks_url: match jwks_url.as_str() {
            "" => None,
            url => Some(address(url, &["https", "http"], "jwks_url")?),
        },
        clock_skew: positive_duration(clock_skew, "clock_skew")?
            .unwrap_or(IdentityProvider::DEFAULT_CLOCK_SKEW),
        claims: claim_mapping(claims.unwrap_or_default()).map_err(|error| error.below("claims"))?,
    })
}

fn algorithm((index, name): (usize, &String)) -> Result<Algorithm, Invalid> {
    Algorithm::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Algorithm::ALL.iter().map(|known| known.name()).collect();
        Invalid::new(format!("algorithms[{index}]"), format!("{name:?} is not one of {}", known.join(", ")))
    })
}

fn claim_mapping(wire: v1::ClaimMapping) -> Result<ClaimMapping, Invalid> {
    let v1::ClaimMapping { user, groups, project, forwarded } = wire;
    let or = |text: &str, default: &str, field| pointer(if text.is_empty() { default } else { text }, field);
    Ok(ClaimMapping {
        user: or(&user, "/sub", "user")?,
        groups: or(&groups, "/groups", "groups")?,
        project: if project.is_empty() { None } else { Some(pointer(&project, "project")?) },
        forwarded: forwarded
            .iter()
            .enumerate()
            .map(|(index, text)| pointer(text, &format!("forwarded[{index}]")))
            .collect::<Result<_, _>>()?,
    })
}

fn api_key(wire: v1::ApiKey) -> Result<ApiKey, Invalid> {
    let v1::ApiKey { id: key_id, tenant, sha256, owner, groups, expires_at } = wire;
    Ok(ApiKey {
        id: id(&key_id, "id")?,
        tenant: id(&tenant, "tenant")?,
        sha256: sha256_digest(&sha256)
            .ok_or_else(|| Invalid::new("sha256", "must be 64 hexadecimal digits: the SHA-256 of the key"))?,
        owner: if owner.is_empty() { key_id } else { owner },
        groups,
        expires_at: expires_at
            .map(|at| {
                Timestamp::new(at.seconds, at.nanos)
                    .map_err(|_| Invalid::new("expires_at", "is not a moment between year -9999 and 9999"))
            })
            .transpose()?,
    })
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

pub(super) fn model(wire: v1::Model) -> Result<Model, Invalid> {
    let v1::Model { name, aliases, targets, max_output_tokens, tenants } = wire;
    let public: ModelName = id(&name, "name")?;
    if targets.is_empty() {
        return Err(Invalid::new("targets", "needs at least one upstream"));
    }
    let targets = each(targets, "targets", |wire: v1::ModelTarget| {
        let v1::ModelTarget { upstream, engine_model } = wire;
        Ok(ModelTarget {
            upstream: id(&upstream, "upstream")?,
            engine_model: match engine_model.as_str() {
                "" => public.clone(),
                name => id(name, "engine_model")?,
            },
        })
    })?;
    Ok(Model {
        name: public,
        aliases: ids(&aliases, "aliases")?,
        targets,
        max_output_tokens: (max_output_tokens > 0).then_some(max_output_tokens),
        tenants: ids(&tenants, "tenants")?,
    })
}

pub(super) fn limit(wire: v1::Limit) -> Result<Limit, Invalid> {
    let v1::Limit { id: limit_id, tenant, counter, scope, measure, window, amount } = wire;
    let window = positive_duration(window, "window")?
        .ok_or_else(|| Invalid::new("window", "is missing; write for example 60s"))?;
    if window < SHORTEST_WINDOW {
        return Err(Invalid::new("window", "must be at least 1s"));
    }
    if amount == 0 || amount > MAX_AMOUNT {
        return Err(Invalid::new("amount", format!("must be between 1 and {MAX_AMOUNT}")));
    }
    let v1::LimitScope { principals, groups, models } = scope.unwrap_or_default();
    Ok(Limit {
        id: id(&limit_id, "id")?,
        tenant: id(&tenant, "tenant")?,
        counter: match known(counter, "counter")? {
            v1::Counter::Unspecified => {
                return Err(Invalid::new("counter", "is missing; COUNTER_SHARED or COUNTER_EACH_PRINCIPAL"));
            }
            v1::Counter::Shared => Counter::Shared,
            v1::Counter::EachPrincipal => Counter::EachPrincipal,
            v1::Counter::EachModel => Counter::EachModel,
            v1::Counter::EachPrincipalAndModel => Counter::EachPrincipalAndModel,
        },
        scope: LimitScope { principals, groups, models: ids(&models, "scope.models")? },
        measure: match known(measure, "measure")? {
            v1::Measure::Unspecified => {
                return Err(Invalid::new("measure", "is missing; for example MEASURE_TOTAL_TOKENS"));
            }
            v1::Measure::Requests => Measure::Requests,
            v1::Measure::InputTokens => Measure::InputTokens,
            v1::Measure::OutputTokens => Measure::OutputTokens,
            v1::Measure::TotalTokens => Measure::TotalTokens,
        },
        window: Duration::from_millis(u64::try_from(window.as_millis()).unwrap_or(u64::MAX)),
        amount,
    })
}

pub(super) fn access_rule(wire: v1::AccessRule) -> Result<AccessRule, Invalid> {
    let v1::AccessRule { id: rule_id, tenant, principals, groups, models, permissions } = wire;
    if permissions.is_empty() {
        return Err(Invalid::new("permissions", "needs at least one, for example PERMISSION_INFERENCE"));
    }
    let permissions = permissions
        .into_iter()
        .enumerate()
        .map(|(index, value)| permission(value, &format!("permissions[{index}]")));
    Ok(AccessRule {
        id: id(&rule_id, "id")?,
        tenant: id(&tenant, "tenant")?,
        principals,
        groups,
        models: ids(&models, "models")?,
        permissions: permissions.collect::<Result<_, _>>()?,
    })
}

pub(super) fn permission(value: i32, field: &str) -> Result<Permission, Invalid> {
    match known(value, field)? {
        v1::Permission::Unspecified => Err(Invalid::new(field, "is not specified")),
        v1::Permission::Inference => Ok(Permission::Inference),
        v1::Permission::Read => Ok(Permission::Read),
        v1::Permission::Admin => Ok(Permission::Admin),
    }
}

fn upstream(wire: v1::Upstream) -> Result<Upstream, Invalid> {
    let v1::Upstream { id: upstream_id, kind, url, models, weight, max_in_flight, timeouts, credential_env } =
        wire;
    let url = address(&url, &["http", "https"], "url")?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(Invalid::new("url", "must not carry a user, a password or a query"));
    }
    let v1::UpstreamTimeouts { connect, first_byte, between_bytes } = timeouts.unwrap_or_default();
    let usual = UpstreamTimeouts::default();
    Ok(Upstream {
        id: id(&upstream_id, "id")?,
        kind: match known(kind, "kind")? {
            v1::UpstreamKind::Unspecified | v1::UpstreamKind::Ollama => UpstreamKind::Ollama,
            v1::UpstreamKind::Vllm => UpstreamKind::Vllm,
            v1::UpstreamKind::Llamacpp => UpstreamKind::LlamaCpp,
            v1::UpstreamKind::Openai => UpstreamKind::OpenAi,
        },
        url,
        models: ids(&models, "models")?,
        weight: weight.max(1),
        max_in_flight: (max_in_flight > 0).then_some(max_in_flight),
        timeouts: UpstreamTimeouts {
            connect: positive_duration(connect, "timeouts.connect")?.unwrap_or(usual.connect),
            first_byte: positive_duration(first_byte, "timeouts.first_byte")?.unwrap_or(usual.first_byte),
            between_bytes: positive_duration(between_bytes, "timeouts.between_bytes")?
                .unwrap_or(usual.between_bytes),
        },
        credential_env: (!credential_env.is_empty()).then_some(credential_env),
    })
}

fn address(text: &str, schemes: &[&str], field: &str) -> Result<Url, Invalid> {
    let problem = |why: String| {
        Invalid::new(
            field,
            format!("{text:?} {why}; write for example {}://host:port", schemes.join(":// or ")),
        )
    };
    let url = Url::parse(text).map_err(|error| problem(format!("is not a URL ({error})")))?;
    if !schemes.contains(&url.scheme()) {
        return Err(problem(format!("has the scheme {:?}", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(problem("has no host".to_owned()));
    }
    Ok(url)
}

// === the bundle as a whole ===

/// Tenants know nothing of each other's ids, so they may have the same.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct OfTenant<'a, I>(&'a TenantId, &'a I);

impl<I: fmt::Display> fmt::Display for OfTenant<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.fmt(f)
    }
}

fn check_unique(bundle: &Bundle) -> Result<(), Invalid> {
    fn unique<K: Ord + ToString>(
        keys: impl IntoIterator<Item = K>,
        list: &str,
        field: &str,
    ) -> Result<(), Invalid> {
        let mut seen = BTreeMap::new();
        for (index, key) in keys.into_iter().enumerate() {
            let text = key.to_string();
            if let Some(first) = seen.insert(key, index) {
                let problem = format!("{text:?} is taken by {list}[{first}]");
                return Err(Invalid::new(format!("{list}[{index}].{field}"), problem));
            }
        }
        Ok(())
    }
    unique(bundle.tenants.iter().map(|it| &it.id), "tenants", "id")?;
    unique(bundle.quota_stores.iter().map(|it| &it.id), "quota_stores", "id")?;
    unique(
        bundle.identity_providers.iter().map(|it| OfTenant(&it.tenant, &it.id)),
        "identity_providers",
        "id",
    )?;
    unique(bundle.keys.iter().map(|it| OfTenant(&it.tenant, &it.id)), "keys", "id")?;
    unique(bundle.limits.iter().map(|it| OfTenant(&it.tenant, &it.id)), "limits", "id")?;
    unique(bundle.access_rules.iter().map(|it| OfTenant(&it.tenant, &it.id)), "access_rules", "id")?;
    unique(bundle.upstreams.iter().map(|it| &it.id), "upstreams", "id")?;

    let mut digests = BTreeSet::new();
    for (index, key) in bundle.keys.iter().enumerate() {
        if !digests.insert(key.sha256) {
            return Err(Invalid::new(format!("keys[{index}].sha256"), "is the same key as an earlier one"));
        }
    }
    let mut names = BTreeMap::new();
    for (index, model) in bundle.models.iter().enumerate() {
        for name in std::iter::once(&model.name).chain(&model.aliases) {
            if let Some(first) = names.insert(name.canonical(), index) {
                let problem =
                    format!("{:?} means the same model as a name of models[{first}]", name.as_str());
                return Err(Invalid::new(format!("models[{index}]"), problem));
            }
        }
    }
    Ok(())
}

fn check_references(bundle: &Bundle) -> Result<(), Invalid> {
    let tenants: BTreeSet<_> = bundle.tenants.iter().map(|tenant| &tenant.id).collect();
    let stores: BTreeSet<&QuotaStoreId> = bundle.quota_stores.iter().map(|store| &store.id).collect();
    let tenant_of = |list: &str, index: usize, tenant: &TenantId| {
        if tenants.contains(tenant) {
            return Ok(());
        }
        Err(Invalid::new(
            format!("{list}[{index}].tenant"),
            format!("there is no tenant {tenant:?}", tenant = tenant.as_str()),
        ))
    };
    for (index, tenant) in bundle.tenants.iter().enumerate() {
        if !stores.contains(&tenant.quota_store) {
            let problem = format!("there is no quota store {:?}", tenant.quota_store.as_str());
            return Err(Invalid::new(format!("tenants[{index}].quota_store"), problem));
        }
    }
    for (index, provider) in bundle.identity_providers.iter().enumerate() {
        tenant_of("identity_providers", index, &provider.tenant)?;
    }
    for (index, key) in bundle.keys.iter().enumerate() {
        tenant_of("keys", index, &key.tenant)?;
    }
    for (index, limit) in bundle.limits.iter().enumerate() {
        tenant_of("limits", index, &limit.tenant)?;
    }
    for (index, rule) in bundle.access_rules.iter().enumerate() {
        tenant_of("access_rules", index, &rule.tenant)?;
    }
    for (index, model) in bundle.models.iter().enumerate() {
        for tenant in &model.tenants {
            tenant_of("models", index, tenant)?;
        }
    }
    Ok(())
}

impl Bundle {
    /// Whether each model's engines are among the upstreams. Not a part of what makes a bundle valid: a pool's models are
    /// for many hosts, each of which has its own engines and serves what these have.
    ///
    /// # Errors
    ///
    /// Names the first target that has none.
    pub fn check_upstreams(&self) -> Result<(), Invalid> {
        let upstreams: BTreeSet<&UpstreamId> = self.upstreams.iter().map(|upstream| &upstream.id).collect();
        for (index, model) in self.models.iter().enumerate() {
            for (target_index, target) in model.targets.iter().enumerate() {
                if !upstreams.contains(&target.upstream) {
                    let path = format!("models[{index}].targets[{target_index}].upstream");
                    let problem = format!("there is no upstream {:?}", target.upstream.as_str());
                    return Err(Invalid::new(path, problem));
                }
            }
        }
        Ok(())
    }
}

/// One (issuer, audience) must resolve to exactly one tenant, else a token could be read as either's.
fn check_audiences(bundle: &Bundle) -> Result<(), Invalid> {
    let mut seen = BTreeMap::new();
    for (index, provider) in bundle.identity_providers.iter().enumerate() {
        for audience in &provider.audiences {
            let issuer = provider.issuer.trim_end_matches('/');
            if let Some(first) = seen.insert((issuer, audience), index) {
                let problem =
                    format!("{audience:?} of this issuer is already taken by identity_providers[{first}]");
                return Err(Invalid::new(format!("identity_providers[{index}].audiences"), problem));
            }
        }
    }
    Ok(())
}
