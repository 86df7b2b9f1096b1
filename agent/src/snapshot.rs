//! A bundle with the indexes that requests need, built once per revision and shared by all cores.

use attach_proto::{
    bundle::{AccessRule, ApiKey, Bundle, IdentityProvider, Limit, Model, QuotaStore, Tenant, Upstream},
    id::{ModelName, QuotaStoreId, TenantId, UpstreamId},
};
use http::HeaderValue;
use std::{collections::HashMap, sync::Arc};

#[derive(Debug)]
pub(crate) struct Snapshot {
    bundle: Bundle,
    tenants: HashMap<TenantId, usize>,
    keys: HashMap<[u8; 32], usize>,
    /// By issuer without its final slash: which form counts is known only from the issuer's metadata.
    providers: HashMap<String, Vec<usize>>,
    /// By public name and by alias, as written and canonical.
    models: HashMap<String, usize>,
    limits: HashMap<TenantId, Vec<usize>>,
    access_rules: HashMap<TenantId, Vec<usize>>,
    /// Shared with the requests that are on their way to one.
    upstreams: Vec<Arc<Upstream>>,
    /// `Authorization` for the engines that want one.
    credentials: HashMap<UpstreamId, HeaderValue>,
}

fn group_by<K: std::hash::Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (index, key) in keys.enumerate() {
        groups.entry(key).or_default().push(index);
    }
    groups
}

fn index_by<K: std::hash::Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    keys.enumerate().map(|(index, key)| (key, index)).collect()
}

impl Snapshot {
    pub(crate) fn new(bundle: Bundle, credentials: HashMap<UpstreamId, HeaderValue>) -> Self {
        let mut models = HashMap::new();
        for (index, model) in bundle.models.iter().enumerate() {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                models.insert(name.canonical(), index);
            }
        }
        Self {
            tenants: index_by(bundle.tenants.iter().map(|tenant| tenant.id.clone())),
            keys: index_by(bundle.keys.iter().map(|key| key.sha256)),
            providers: group_by(
                bundle
                    .identity_providers
                    .iter()
                    .map(|provider| without_final_slash(&provider.issuer).to_owned()),
            ),
            models,
            limits: group_by(bundle.limits.iter().map(|limit| limit.tenant.clone())),
            access_rules: group_by(bundle.access_rules.iter().map(|rule| rule.tenant.clone())),
            upstreams: bundle.upstreams.iter().cloned().map(Arc::new).collect(),
            credentials,
            bundle,
        }
    }

    pub(crate) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    pub(crate) fn tenant(&self, id: &TenantId) -> Option<&Tenant> {
        self.bundle.tenants.get(*self.tenants.get(id)?)
    }

    pub(crate) fn quota_store(&self, id: &QuotaStoreId) -> Option<&QuotaStore> {
        self.bundle.quota_stores.iter().find(|store| store.id == *id)
    }

    /// The key with this SHA-256.
    pub(crate) fn key(&self, sha256: &[u8; 32]) -> Option<&ApiKey> {
        self.bundle.keys.get(*self.keys.get(sha256)?)
    }

    /// The providers of an issuer, one for each tenant that uses it; the form of the issuer is not yet checked.
    pub(crate) fn providers(&self, issuer: &str) -> impl Iterator<Item = &IdentityProvider> {
        let indexes = self.providers.get(without_final_slash(issuer)).map_or(&[][..], Vec::as_slice);
        indexes.iter().filter_map(|&index| self.bundle.identity_providers.get(index))
    }

    pub(crate) fn model(&self, name: &ModelName) -> Option<&Model> {
        self.bundle.models.get(*self.models.get(&name.canonical())?)
    }

    pub(crate) fn limits(&self, tenant: &TenantId) -> impl Iterator<Item = &Limit> {
        let indexes = self.limits.get(tenant).map_or(&[][..], Vec::as_slice);
        indexes.iter().filter_map(|&index| self.bundle.limits.get(index))
    }

    pub(crate) fn access_rules(&self, tenant: &TenantId) -> impl Iterator<Item = &AccessRule> {
        let indexes = self.access_rules.get(tenant).map_or(&[][..], Vec::as_slice);
        indexes.iter().filter_map(|&index| self.bundle.access_rules.get(index))
    }

    pub(crate) fn credential(&self, upstream: &UpstreamId) -> Option<&HeaderValue> {
        self.credentials.get(upstream)
    }

    /// A host has few engines, so a look at each is the fastest index.
    pub(crate) fn upstream(&self, id: &UpstreamId) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| upstream.id == *id)
    }

    pub(crate) fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }
}

fn without_final_slash(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}
