//! A bundle in the parts in which it travels and is kept: each with its kind, its id and a version, so that a change sends
//! what changed, and all together under one signature.

use crate::{
    Invalid,
    id::{PoolId, Revision},
    v1::{self, ResourceKind},
};
use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use prost::Message;
use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
};

/// What an agent of this version can do, for [`v1::Hello`]. A kind of resource is a feature by its name; when a kind comes to
/// say more, its feature gets the next number, for an agent that passes over what it does not know would be laxer than what
/// somebody decided.
pub const FEATURES: [&str; 8] = [
    "tenant",
    "quota_store",
    "identity_provider.4",
    "api_key.2",
    "model",
    "limit.2",
    "access_rule.2",
    "routes",
];

/// What an agent says in Hello that answers questions. No revision needs it.
pub const EXPLAINS: &str = "explain";

/// Which resource it is. A tenant's own is `tenant/id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// Number of a [`ResourceKind`], also of one that this version does not know.
    pub kind: i32,
    pub id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Of the change that wrote it last.
    pub version: u64,
    /// The encoded message of its kind.
    pub body: Bytes,
    sha256: [u8; 32],
}

/// All that a pool's agents hold of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources(BTreeMap<ResourceName, Resource>);

/// What takes an agent from what it holds to a revision.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Difference {
    pub upsert: Vec<v1::Resource>,
    pub removed: Vec<v1::RemovedResource>,
}

impl Resource {
    pub fn new(version: u64, body: Bytes) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, &body).as_ref());
        Self { version, body, sha256 }
    }
}

impl Resources {
    pub fn insert(&mut self, name: ResourceName, resource: Resource) {
        self.0.insert(name, resource);
    }

    /// Takes what the control plane sent.
    pub fn apply(&mut self, update: &v1::Update) {
        for removed in &update.removed {
            self.0.remove(&ResourceName { kind: removed.kind, id: removed.id.clone() });
        }
        for resource in &update.upsert {
            let name = ResourceName { kind: resource.kind, id: resource.id.clone() };
            self.0.insert(name, Resource::new(resource.version, resource.body.clone()));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, &Resource)> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For [`v1::Hello`].
    pub fn held(&self) -> Vec<v1::HeldResource> {
        let held = |(name, resource): (&ResourceName, &Resource)| v1::HeldResource {
            kind: name.kind,
            id: name.id.clone(),
            version: resource.version,
        };
        self.0.iter().map(held).collect()
    }

    /// What is signed for this revision.
    pub fn manifest_head(&self, pool: &PoolId, revision: Revision) -> v1::ManifestHead {
        let mut hash = Context::new(&SHA256);
        let mut entry = Vec::new();
        for (name, resource) in &self.0 {
            let of_resource =
                v1::ManifestEntry { kind: name.kind, id: name.id.clone(), sha256: resource.sha256.to_vec() };
            entry.clear();
            // A vector takes any length.
            let _ = of_resource.encode_length_delimited(&mut entry);
            hash.update(&entry);
        }
        v1::ManifestHead {
            pool: pool.as_str().to_owned(),
            revision: revision.0,
            sha256: hash.finish().as_ref().to_vec(),
        }
    }

    /// What an agent lacks that says it holds `held`.
    pub fn difference(&self, held: &[v1::HeldResource]) -> Difference {
        let versions: HashMap<(i32, &str), u64> =
            held.iter().map(|held| ((held.kind, held.id.as_str()), held.version)).collect();
        let is_held = |name: &ResourceName, resource: &Resource| {
            versions.get(&(name.kind, name.id.as_str())) == Some(&resource.version)
        };
        let upsert = self.0.iter().filter(|(name, resource)| !is_held(name, resource));
        let removed = held
            .iter()
            .filter(|held| !self.0.contains_key(&ResourceName { kind: held.kind, id: held.id.clone() }));
        Difference {
            upsert: upsert.map(|(name, resource)| resource.to_wire(name)).collect(),
            removed: removed
                .map(|held| v1::RemovedResource { kind: held.kind, id: held.id.clone() })
                .collect(),
        }
    }

    /// What changed since another state of the same pool.
    pub fn difference_to(&self, before: &Self) -> Difference {
        let is_same = |name: &ResourceName, resource: &Resource| {
            before.0.get(name).is_some_and(|known| known.version == resource.version)
        };
        let upsert = self.0.iter().filter(|(name, resource)| !is_same(name, resource));
        let removed = before.0.keys().filter(|name| !self.0.contains_key(*name));
        Difference {
            upsert: upsert.map(|(name, resource)| resource.to_wire(name)).collect(),
            removed: removed
                .map(|name| v1::RemovedResource { kind: name.kind, id: name.id.clone() })
                .collect(),
        }
    }

    /// The features that an agent must have announced.
    pub fn needed_features(&self) -> impl Iterator<Item = String> {
        let mut kinds: Vec<i32> = self.0.keys().map(|name| name.kind).collect();
        kinds.dedup();
        kinds.into_iter().map(|kind| match ResourceKind::try_from(kind) {
            Ok(kind) => feature(kind),
            Err(_) => format!("resource kind {kind}"),
        })
    }

    /// The parts put together, in the order of their names.
    ///
    /// # Errors
    ///
    /// A part that is not what its kind says, or of a kind that this version does not know.
    pub fn bundle(&self, revision: Revision) -> Result<v1::Bundle, Invalid> {
        let mut bundle = v1::Bundle { revision: revision.0, ..v1::Bundle::default() };
        for (name, Resource { body, .. }) in &self.0 {
            match ResourceKind::try_from(name.kind) {
                Ok(ResourceKind::Tenant) => bundle.tenants.push(decode(name, body)?),
                Ok(ResourceKind::QuotaStore) => bundle.quota_stores.push(decode(name, body)?),
                Ok(ResourceKind::IdentityProvider) => bundle.identity_providers.push(decode(name, body)?),
                Ok(ResourceKind::ApiKey) => bundle.keys.push(decode(name, body)?),
                Ok(ResourceKind::Model) => bundle.models.push(decode(name, body)?),
                Ok(ResourceKind::Limit) => bundle.limits.push(decode(name, body)?),
                Ok(ResourceKind::AccessRule) => bundle.access_rules.push(decode(name, body)?),
                Ok(ResourceKind::Routes) => bundle.routes = Some(decode(name, body)?),
                Ok(ResourceKind::Unspecified) | Err(_) => {
                    let problem = format!("the kind {} is not known to this version", name.kind);
                    return Err(Invalid { path: format!("resources[{}]", name.id), problem });
                }
            }
        }
        Ok(bundle)
    }

    /// The path of a field of [`bundle`](Self::bundle), with the resource's own id where its place in the list stands:
    /// `limits[acme/tokens].window` instead of `limits[2].window`.
    pub fn named(&self, invalid: Invalid) -> Invalid {
        let place = || {
            let (list, rest) = invalid.path.split_once('[')?;
            let (index, rest) = rest.split_once(']')?;
            let kind = match list {
                "tenants" => ResourceKind::Tenant,
                "quota_stores" => ResourceKind::QuotaStore,
                "identity_providers" => ResourceKind::IdentityProvider,
                "keys" => ResourceKind::ApiKey,
                "models" => ResourceKind::Model,
                "limits" => ResourceKind::Limit,
                "access_rules" => ResourceKind::AccessRule,
                _ => return None,
            };
            let mut of_kind = self.0.keys().filter(|name| name.kind == i32::from(kind));
            let name = of_kind.nth(index.parse().ok()?)?;
            Some(format!("{list}[{}]{rest}", name.id))
        };
        Invalid { path: place().unwrap_or_else(|| invalid.path.clone()), problem: invalid.problem }
    }
}

fn feature(kind: ResourceKind) -> String {
    let name = kind.as_str_name().trim_start_matches("RESOURCE_KIND_").to_lowercase();
    let with_number = FEATURES.iter().find(|feature| feature.split('.').next() == Some(name.as_str()));
    with_number.map_or(name, |feature| (*feature).to_owned())
}

impl Resource {
    fn to_wire(&self, name: &ResourceName) -> v1::Resource {
        v1::Resource { kind: name.kind, id: name.id.clone(), version: self.version, body: self.body.clone() }
    }
}

impl ResourceName {
    /// Of what belongs to no tenant.
    pub fn global(kind: ResourceKind, id: impl Borrow<str>) -> Self {
        Self { kind: kind.into(), id: id.borrow().to_owned() }
    }

    pub fn of_tenant(kind: ResourceKind, tenant: impl Borrow<str>, id: impl Borrow<str>) -> Self {
        Self { kind: kind.into(), id: format!("{}/{}", tenant.borrow(), id.borrow()) }
    }
}

fn decode<M: Message + Default>(name: &ResourceName, body: &Bytes) -> Result<M, Invalid> {
    M::decode(body.clone()).map_err(|error| Invalid {
        path: format!("resources[{}]", name.id),
        problem: format!("is not what its kind says: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(tenant: &str, id: &str, amount: u64) -> (ResourceName, v1::Limit) {
        let limit =
            v1::Limit { id: id.to_owned(), tenant: tenant.to_owned(), amount, ..v1::Limit::default() };
        (ResourceName::of_tenant(ResourceKind::Limit, tenant, id), limit)
    }

    fn resources(limits: &[(&str, u64, u64)]) -> Resources {
        let mut resources = Resources::default();
        for (id, version, amount) in limits {
            let (name, limit) = limit("acme", id, *amount);
            resources.insert(name, Resource::new(*version, limit.encode_to_vec().into()));
        }
        resources
    }

    #[test]
    fn a_difference_takes_whoever_holds_anything_to_the_same_state() {
        let before = resources(&[("a", 1, 10), ("b", 2, 10), ("c", 3, 10)]);
        let after = resources(&[("b", 2, 10), ("c", 5, 20), ("d", 4, 10)]);
        for held in [&before, &Resources::default(), &after] {
            let difference = after.difference(&held.held());
            assert_eq!(difference, after.difference_to(held));
            let mut state = held.clone();
            let Difference { upsert, removed } = difference;
            state.apply(&v1::Update { upsert, removed, ..v1::Update::default() });
            assert_eq!(state, after);
        }
        assert_eq!(after.difference(&after.held()), Difference::default());
    }

    #[test]
    fn the_manifest_is_of_this_pool_this_revision_and_these_bytes() {
        let pool: PoolId = "main".parse().unwrap();
        let of = |limits: &[(&str, u64, u64)]| resources(limits).manifest_head(&pool, Revision(7));
        let head = of(&[("a", 1, 10), ("b", 2, 10)]);
        assert_eq!(head, of(&[("b", 2, 10), ("a", 1, 10)]), "whatever came first");
        for other in [
            of(&[("a", 1, 10), ("b", 2, 11)]),
            of(&[("a", 1, 10)]),
            of(&[("a", 1, 10), ("c", 2, 10)]),
            resources(&[("a", 1, 10), ("b", 2, 10)]).manifest_head(&"side".parse().unwrap(), Revision(7)),
            resources(&[("a", 1, 10), ("b", 2, 10)]).manifest_head(&pool, Revision(8)),
        ] {
            assert_ne!(head, other);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_and_a_body_that_is_none_are_named() {
        let mut later = resources(&[("a", 1, 10)]);
        later.insert(ResourceName { kind: 99, id: "x".to_owned() }, Resource::new(1, Bytes::new()));
        let invalid = later.bundle(Revision(1)).unwrap_err();
        assert_eq!(invalid.to_string(), "resources[x]: the kind 99 is not known to this version");
        assert_eq!(later.needed_features().collect::<Vec<_>>(), ["limit.2", "resource kind 99"]);

        let mut broken = Resources::default();
        let name = ResourceName::of_tenant(ResourceKind::Limit, "acme", "a");
        broken.insert(name, Resource::new(1, Bytes::from_static(&[0xff])));
        let invalid = broken.bundle(Revision(1)).unwrap_err();
        assert!(invalid.to_string().starts_with("resources[acme/a]: is not what its kind says"), "{invalid}");
    }

    #[test]
    fn an_error_names_the_resource_and_not_its_place() {
        let resources = resources(&[("a", 1, 10), ("b", 2, 10)]);
        let wire = resources.bundle(Revision(1)).unwrap();
        let invalid = crate::bundle::Bundle::try_from(wire).unwrap_err();
        assert_eq!(invalid.path, "limits[0].window");
        assert_eq!(resources.named(invalid).path, "limits[acme/a].window");
        let elsewhere = Invalid { path: "revision".to_owned(), problem: String::new() };
        assert_eq!(resources.named(elsewhere.clone()), elsewhere);
    }

    #[test]
    fn this_version_has_the_features_of_all_kinds_it_knows() {
        let kinds = (1..).map_while(|kind| ResourceKind::try_from(kind).ok());
        let mut all = Resources::default();
        for kind in kinds {
            all.insert(ResourceName::global(kind, "x"), Resource::new(1, Bytes::new()));
        }
        assert_eq!(all.needed_features().collect::<Vec<_>>(), FEATURES);
    }
}
