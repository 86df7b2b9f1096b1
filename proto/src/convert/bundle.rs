//! `v1::Bundle` to [`Bundle`].

use super::{
    Invalid, address,
    api_key::{self, api_key},
    did_policy, each, id,
    identity_provider::{check_audiences, identity_provider},
    ids, known, positive_duration,
};
use crate::{
    bundle::{
        AccessRule, Bundle, Counter, Durability, Limit, LimitScope, Measure, Model, ModelTarget, Permission,
        QuotaOutage, QuotaStore, QuotaStoreKind, Tenant, Upstream, UpstreamKind, UpstreamTimeouts,
    },
    id::{ModelName, QuotaStoreId, Revision, TenantId, UpstreamId},
    v1,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// The shortest window that the sliding counters of both stores resolve well.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// Amounts stay exact as a Lua number (an IEEE double) in the quota store.
const MAX_AMOUNT: u64 = 1 << 53;

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
    did_policy::check_disjoint(&bundle.tenants)?;
    Ok(bundle)
}

pub(super) fn tenant(wire: v1::Tenant) -> Result<Tenant, Invalid> {
    let v1::Tenant { id: tenant_id, name, quota_store, on_quota_outage, durability, did } = wire;
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
        did: did.map(did_policy::convert).transpose().map_err(|error| error.below("did"))?,
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
    let v1::LimitScope { principals, groups, models, keys } = scope.unwrap_or_default();
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
        scope: LimitScope {
            principals,
            groups,
            models: ids(&models, "scope.models")?,
            keys: ids(&keys, "scope.keys")?,
        },
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
    let v1::AccessRule { id: rule_id, tenant, principals, groups, models, permissions, roles, scopes } = wire;
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
        roles,
        scopes,
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

    api_key::check_unique(&bundle.keys)?;
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
