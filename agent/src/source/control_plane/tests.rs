//! What is taken from a control plane and from the disk, and what is refused.

use super::{
    good::{Good, Refusal},
    host::Host,
    kept::Kept,
};
use crate::{
    enrolment::{Identity, tests::Authority},
    settings::Environment,
};
use attach_proto::{
    id::Revision,
    resources::{Resource, ResourceName, Resources},
    v1::{self, ResourceKind},
};
use prost::Message as _;
use std::sync::Arc;

fn host() -> Host {
    let upstream = v1::Upstream {
        id: "engine".to_owned(),
        url: "http://localhost:11434".to_owned(),
        ..v1::Upstream::default()
    };
    Host::new(vec![upstream], Environment::default()).unwrap()
}

/// A pool with one tenant and one limit of this amount.
fn resources(amount: u64) -> Arc<Resources> {
    let mut resources = Resources::default();
    let store = v1::quota_store::Store::Local(v1::LocalStore {});
    let store = v1::QuotaStore { id: "local".to_owned(), store: Some(store) };
    let tenant =
        v1::Tenant { id: "acme".to_owned(), quota_store: "local".to_owned(), ..v1::Tenant::default() };
    let limit = v1::Limit {
        id: "tokens".to_owned(),
        tenant: "acme".to_owned(),
        counter: v1::Counter::Shared.into(),
        measure: v1::Measure::TotalTokens.into(),
        window: Some(pbjson_types::Duration { seconds: 60, nanos: 0 }),
        amount,
        ..v1::Limit::default()
    };
    let bodies = [
        (ResourceName::global(ResourceKind::QuotaStore, "local"), store.encode_to_vec()),
        (ResourceName::global(ResourceKind::Tenant, "acme"), tenant.encode_to_vec()),
        (ResourceName::of_tenant(ResourceKind::Limit, "acme", "tokens"), limit.encode_to_vec()),
    ];
    for (name, body) in bodies {
        resources.insert(name, Resource::new(1, body.into()));
    }
    Arc::new(resources)
}

fn signed(authority: &Authority, resources: &Resources, pool: &str, revision: u64) -> v1::Manifest {
    let head = resources.manifest_head(&pool.parse().unwrap(), Revision(revision));
    authority.sign(head.encode_to_vec())
}

fn check(
    identity: &Identity,
    resources: &Arc<Resources>,
    revision: u64,
    manifest: v1::Manifest,
    held: Option<u64>,
) -> Result<Good, Refusal> {
    let (resources, held) = (Arc::clone(resources), held.map(Revision));
    Good::check(resources, Revision(revision), Some(manifest), identity, held)
}

#[test]
fn a_revision_that_was_signed_for_this_pool_is_taken_with_the_host_s_engines() {
    let authority = Authority::new();
    let identity = authority.enrol("main", "agent-1");
    let resources = resources(1_000);
    for held in [None, Some(6), Some(7)] {
        let good = check(&identity, &resources, 7, signed(&authority, &resources, "main", 7), held).unwrap();
        let snapshot = good.snapshot(&host()).unwrap();
        assert_eq!(snapshot.bundle().revision, Revision(7));
        assert_eq!(snapshot.bundle().upstreams[0].id.as_str(), "engine");
        assert_eq!(snapshot.bundle().limits[0].amount, 1_000);
    }
}

#[test]
fn whatever_else_arrives_is_refused_for_what_is_wrong_with_it() {
    let authority = Authority::new();
    let identity = authority.enrol("main", "agent-1");
    let ours = resources(1_000);
    let refusal = |manifest, held| check(&identity, &ours, 7, manifest, held).unwrap_err().to_string();

    let stranger = signed(&Authority::new(), &ours, "main", 7);
    assert!(refusal(stranger, None).contains("signature that is not right"));
    let unknown = v1::Manifest { key_id: "k9".to_owned(), ..signed(&authority, &ours, "main", 7) };
    assert!(refusal(unknown, None).contains("does not know"));
    let mut altered = signed(&authority, &ours, "main", 7);
    altered.head[3] ^= 1;
    assert!(refusal(altered, None).contains("signature that is not right"));
    assert!(refusal(signed(&authority, &ours, "side", 7), None).contains("the pool \"side\""));
    assert!(refusal(signed(&authority, &ours, "main", 8), None).contains("its manifest says 8"));
    let older = refusal(signed(&authority, &ours, "main", 7), Some(8));
    assert_eq!(older, "revision 7 is older than 8, which this gateway has");
    let other = signed(&authority, &resources(9), "main", 7);
    assert!(refusal(other, None).contains("not what was signed"));
    let garbage = authority.sign(vec![0xff; 9]);
    assert!(refusal(garbage, None).contains("head can't be read"));
    let none = Good::check(Arc::clone(&ours), Revision(7), None, &identity, None);
    assert!(matches!(none, Err(Refusal::NoManifest)));
}

#[test]
fn a_revision_that_does_not_validate_is_refused_with_the_path_of_its_field() {
    let authority = Authority::new();
    let identity = authority.enrol("main", "agent-1");
    let bad = resources(0);
    let good = check(&identity, &bad, 7, signed(&authority, &bad, "main", 7), None).unwrap();
    let refusal = good.snapshot(&host()).unwrap_err();
    assert!(refusal.to_string().starts_with("limits[acme/tokens].amount: "), "{refusal}");
    assert!(!refusal.is_of_transport(), "both sides know what this gateway has");

    let mut later = Resources::clone(&resources(1));
    later.insert(ResourceName { kind: 99, id: "x".to_owned() }, Resource::new(1, Vec::new().into()));
    let later = Arc::new(later);
    let good = check(&identity, &later, 7, signed(&authority, &later, "main", 7), None).unwrap();
    let refusal = good.snapshot(&host()).unwrap_err();
    assert_eq!(refusal.to_string(), "resources[x]: the kind 99 is not known to this version");
}

#[test]
fn the_last_good_bundle_is_kept_and_any_other_file_in_its_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::below(folder.path());
    let authority = Authority::new();
    let identity = authority.enrol("main", "agent-1");
    assert!(kept.load(&identity).unwrap().is_none());

    let resources = resources(1_000);
    let good = check(&identity, &resources, 7, signed(&authority, &resources, "main", 7), None).unwrap();
    kept.store(&good).unwrap();
    let read = kept.load(&identity).unwrap().unwrap();
    assert_eq!((read.revision(), read.resources()), (Revision(7), Arc::clone(&resources)));
    assert_eq!(read.snapshot(&host()).unwrap().bundle().limits[0].amount, 1_000);

    let error = |identity: &Identity| kept.load(identity).unwrap_err().to_string();
    assert!(error(&authority.enrol("side", "agent-2")).contains("the pool \"main\""), "another pool's");
    assert!(
        error(&Authority::new().enrol("main", "agent-1")).contains("signature"),
        "another control plane's"
    );

    let path = folder.path().join("bundle");
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 40, whole.len() / 2, whole.len() - 1] {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        std::fs::write(&path, &bent).unwrap();
        assert!(error(&identity).contains("bundle: the bundle is damaged"), "{at}");
    }
    for length in [0, 10, 32, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = error(&identity);
        assert!(error.contains("damaged") || error.contains("without a manifest"), "{length}: {error}");
    }
    kept.remove().unwrap();
    assert!(kept.load(&identity).unwrap().is_none());
}

#[test]
fn who_rewrites_the_file_with_its_digest_is_found_by_the_signature() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::below(folder.path());
    let authority = Authority::new();
    let identity = authority.enrol("main", "agent-1");
    let (small, large) = (resources(10), resources(1_000_000));
    let manifest = signed(&authority, &small, "main", 7);
    let good = check(&identity, &small, 7, manifest.clone(), None).unwrap();
    let mut update = good.to_update();
    update.upsert = large.difference(&[]).upsert;
    let body = update.encode_to_vec();
    let mut bytes = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body).as_ref().to_vec();
    bytes.extend_from_slice(&body);
    std::fs::write(folder.path().join("bundle"), bytes).unwrap();
    let error = kept.load(&identity).unwrap_err().to_string();
    assert!(error.contains("not what was signed"), "{error}");
}
