//! A bundle with the indexes that requests need, built once per revision and shared by all cores.

mod did_callers;

pub(crate) use did_callers::NoTenant;

use attach_proto::{
    bundle::{
        AccessRule, AllowedRoute, ApiKey, Bundle, ClaimPath, IdentityProvider, Limit, Model, QuotaStore,
        Tenant, Upstream,
    },
    did::{Did, DidPolicy},
    id::{ModelName, QuotaStoreId, TenantId, UpstreamId},
};
use did_callers::DidCallers;
use foldhash::{HashMap, HashMapExt as _};
use http::HeaderValue;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Snapshot {
    bundle: Bundle,
    tenants: HashMap<TenantId, usize>,
    /// Also by the secret that is on its way out.
    keys: HashMap<[u8; 32], usize>,
    /// By issuer without its final slash: which form counts is known only from the issuer's metadata.
    providers: HashMap<String, OfIssuer>,
    did_callers: DidCallers,
    /// By public name and by alias, as written and canonical.
    models: HashMap<String, Arc<Model>>,
    limits: HashMap<TenantId, Vec<usize>>,
    access_rules: HashMap<TenantId, Vec<usize>>,
    /// Shared with the requests that go by one.
    allowed_routes: Vec<Arc<AllowedRoute>>,
    /// Shared with the requests that are on their way to one.
    engines: Vec<Arc<Engine>>,
}

/// An issuer's providers, by where its tokens name their audience. Almost always that is one place.
#[derive(Debug, Default)]
pub(crate) struct OfIssuer {
    by_audience: Vec<(ClaimPath, HashMap<String, Meant>)>,
}

/// Which provider a token of an issuer and audience is of, by its place in the bundle.
#[derive(Debug)]
pub(crate) enum Meant {
    One(usize),
    /// Tenants share issuer and audience; the claim tells them apart.
    ByOrganisation {
        claim: ClaimPath,
        organisations: HashMap<String, usize>,
    },
}

impl OfIssuer {
    fn insert(&mut self, index: usize, provider: &IdentityProvider) {
        let place = match self.by_audience.iter().position(|(claim, _)| *claim == provider.audience_claim) {
            Some(place) => place,
            None => {
                self.by_audience.push((provider.audience_claim.clone(), HashMap::new()));
                self.by_audience.len() - 1
            }
        };
        let Some((_, by_audience)) = self.by_audience.get_mut(place) else { return };
        for audience in &provider.audiences {
            let of_audience =
                by_audience.entry(audience.clone()).or_insert_with(|| Meant::new(index, provider));
            if let Meant::ByOrganisation { organisations, .. } = of_audience {
                organisations.extend(provider.organisations.iter().map(|named| (named.clone(), index)));
            }
        }
    }

    pub(crate) fn by_audience(&self) -> impl Iterator<Item = (&ClaimPath, &HashMap<String, Meant>)> {
        self.by_audience.iter().map(|(claim, by_audience)| (claim, by_audience))
    }
}

impl Meant {
    fn new(index: usize, provider: &IdentityProvider) -> Self {
        match &provider.claims.organisation {
            Some(claim) if !provider.organisations.is_empty() => {
                Self::ByOrganisation { claim: claim.clone(), organisations: HashMap::new() }
            }
            Some(_) | None => Self::One(index),
        }
    }
}

/// An upstream, with what each request to it needs.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) upstream: Upstream,
    /// Scheme, host and port: what a connection is good for.
    pub(crate) origin: Arc<str>,
    /// Its own name, or Ollama answers 403 to any foreign one.
    pub(crate) host: Option<HeaderValue>,
    /// `Authorization`, for an engine that wants one.
    pub(crate) credential: Option<HeaderValue>,
}

impl Engine {
    fn new(upstream: Upstream, credential: Option<HeaderValue>) -> Self {
        let origin = upstream.url.origin().ascii_serialization().into();
        let port = upstream.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = upstream.url.host_str().map(|host| format!("{host}{port}"));
        let host = host.and_then(|host| HeaderValue::try_from(host).ok());
        Self { upstream, origin, host, credential }
    }
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

fn index_secrets(keys: &[ApiKey]) -> HashMap<[u8; 32], usize> {
    let secrets = keys.iter().enumerate().flat_map(|(index, key)| {
        let previous = key.previous.map(|previous| previous.sha256);
        [Some(key.sha256), previous].into_iter().flatten().map(move |secret| (secret, index))
    });
    secrets.collect()
}

impl Snapshot {
    pub(crate) fn new(bundle: Bundle, mut credentials: HashMap<UpstreamId, HeaderValue>) -> Self {
        let engine = |upstream: &Upstream| {
            let credential = credentials.remove(&upstream.id);
            Arc::new(Engine::new(upstream.clone(), credential))
        };
        let engines = bundle.upstreams.iter().map(engine).collect();
        let mut models = HashMap::new();
        for model in bundle.models.iter().cloned().map(Arc::new) {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                models.insert(name.canonical(), Arc::clone(&model));
            }
        }
        let mut providers: HashMap<String, OfIssuer> = HashMap::new();
        for (index, provider) in bundle.identity_providers.iter().enumerate() {
            let issuer = without_final_slash(&provider.issuer).to_owned();
            providers.entry(issuer).or_default().insert(index, provider);
        }
        Self {
            tenants: index_by(bundle.tenants.iter().map(|tenant| tenant.id.clone())),
            keys: index_secrets(&bundle.keys),
            providers,
            did_callers: DidCallers::of(&bundle.tenants),
            models,
            limits: group_by(bundle.limits.iter().map(|limit| limit.tenant.clone())),
            access_rules: group_by(bundle.access_rules.iter().map(|rule| rule.tenant.clone())),
            allowed_routes: bundle.routes.allow.iter().cloned().map(Arc::new).collect(),
            engines,
            bundle,
        }
    }

    /// What there is of it for one tenant: with nothing of another, neither its keys nor its issuers, so that whatever is
    /// found out by it is the tenant's own. For answers, and not to serve by. `None` for a tenant that is not served.
    pub(crate) fn seen_by(&self, tenant: &TenantId) -> Option<Self> {
        fn of<T: Clone>(all: &[T], is_its: impl Fn(&T) -> bool) -> Vec<T> {
            all.iter().filter(|one| is_its(one)).cloned().collect()
        }
        let own = self.tenant(tenant)?.clone();
        let Bundle { revision, identity_providers, keys, models, limits, access_rules, upstreams, .. } =
            &self.bundle;
        let bundle = Bundle {
            revision: *revision,
            quota_stores: of(&self.bundle.quota_stores, |store| store.id == own.quota_store),
            tenants: vec![own],
            identity_providers: of(identity_providers, |provider| provider.tenant == *tenant),
            keys: of(keys, |key| key.tenant == *tenant),
            models: of(models, |model| model.tenants.is_empty() || model.tenants.contains(tenant)),
            limits: of(limits, |limit| limit.tenant == *tenant),
            access_rules: of(access_rules, |rule| rule.tenant == *tenant),
            upstreams: upstreams.clone(),
            routes: self.bundle.routes.clone(),
        };
        Some(Self::new(bundle, HashMap::new()))
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

    /// The providers of an issuer; the form of the issuer is not yet checked.
    pub(crate) fn of_issuer(&self, issuer: &str) -> Option<&OfIssuer> {
        self.providers.get(without_final_slash(issuer))
    }

    /// Whether there is a tenant for which DIDs may call.
    pub(crate) fn has_did_callers(&self) -> bool {
        !self.did_callers.is_empty()
    }

    /// Those whose documents have to be had.
    pub(crate) fn web_dids(&self) -> impl Iterator<Item = &Did> {
        let policies = self.bundle.tenants.iter().filter_map(|tenant| tenant.did.as_ref());
        policies.flat_map(|policy| &policy.allowed.listed).filter(|did| did.is_web())
    }

    /// The one tenant for which a DID may call by these audiences, and its policy.
    pub(crate) fn did_caller(
        &self,
        did: &Did,
        audiences: &[&str],
    ) -> Result<(&Tenant, &DidPolicy), NoTenant> {
        let tenant = self.bundle.tenants.get(self.did_callers.tenant(did, audiences)?);
        tenant.and_then(|tenant| Some((tenant, tenant.did.as_ref()?))).ok_or(NoTenant::NotAllowed)
    }

    pub(crate) fn model(&self, name: &ModelName) -> Option<&Arc<Model>> {
        self.models.get(&name.canonical())
    }

    pub(crate) fn limits(&self, tenant: &TenantId) -> impl Iterator<Item = &Limit> {
        let indexes = self.limits.get(tenant).map_or(&[][..], Vec::as_slice);
        indexes.iter().filter_map(|&index| self.bundle.limits.get(index))
    }

    pub(crate) fn access_rules(&self, tenant: &TenantId) -> impl Iterator<Item = &AccessRule> {
        let indexes = self.access_rules.get(tenant).map_or(&[][..], Vec::as_slice);
        indexes.iter().filter_map(|&index| self.bundle.access_rules.get(index))
    }

    /// What the operator opened.
    pub(crate) fn allowed_routes(&self) -> &[Arc<AllowedRoute>] {
        &self.allowed_routes
    }

    /// A host has few engines, so a look at each is the fastest index.
    pub(crate) fn engine(&self, id: &UpstreamId) -> Option<&Arc<Engine>> {
        self.engines.iter().find(|engine| engine.upstream.id == *id)
    }

    pub(crate) fn engines(&self) -> &[Arc<Engine>] {
        &self.engines
    }
}

fn without_final_slash(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}
