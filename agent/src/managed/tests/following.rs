//! The stream of configuration: updates in chunks, what is refused, reconnects, revocation, renewal.

use super::*;
use crate::source::Loaded;
use attach_proto::{
    enrolment::reason,
    id::Revision,
    resources::{EXPLAINS, FEATURES, Resource, ResourceName, Resources},
    v1::{self, ResourceKind, to_agent::Message as Say},
};
use prost::Message as _;
use std::collections::HashMap;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A gateway that follows.
struct Following {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    standing: Arc<Standing>,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins with what the disk has.
fn follow(world: &World) -> Following {
    let managed = world.managed();
    let upstream =
        v1::Upstream { id: "engine".to_owned(), url: "http://127.0.0.1:1".to_owned(), ..Default::default() };
    let mut source = managed.source(vec![upstream], Environment::default(), world.looks()).unwrap();
    let (Loaded::Bundle(snapshot) | Loaded::Nobody(snapshot)) = source.load().unwrap();
    let standing = managed.standing();
    let (sender, snapshots) = watch::channel(Arc::new(snapshot));
    let task = tokio::spawn(source.follow(sender, |_| {}));
    Following { snapshots, standing, task }
}

impl Following {
    fn revision(&self) -> u64 {
        self.snapshots.borrow().bundle().revision.0
    }

    fn keys(&self) -> usize {
        self.snapshots.borrow().bundle().keys.len()
    }
}

/// A tenant with this many keys, each of this version.
fn resources(keys: u64, version: u64) -> Resources {
    let mut resources = Resources::default();
    let store = v1::quota_store::Store::Local(v1::LocalStore {});
    let store = v1::QuotaStore { id: "local".to_owned(), store: Some(store) };
    let tenant =
        v1::Tenant { id: "acme".to_owned(), quota_store: "local".to_owned(), ..v1::Tenant::default() };
    resources.insert(
        ResourceName::global(ResourceKind::QuotaStore, "local"),
        Resource::new(1, store.encode_to_vec().into()),
    );
    resources.insert(
        ResourceName::global(ResourceKind::Tenant, "acme"),
        Resource::new(1, tenant.encode_to_vec().into()),
    );
    for number in 0..keys {
        let id = format!("key-{number}");
        let sha256 = format!("{number:064x}");
        let key = v1::ApiKey { id: id.clone(), tenant: "acme".to_owned(), sha256, ..v1::ApiKey::default() };
        let name = ResourceName::of_tenant(ResourceKind::ApiKey, "acme", id);
        resources.insert(name, Resource::new(version, key.encode_to_vec().into()));
    }
    resources
}

/// What takes an agent that holds `from` to `to`, a resource in each chunk.
fn updates(world: &World, from: &Resources, to: &Resources, revision: u64) -> Vec<v1::Update> {
    let difference = to.difference_to(from);
    let mut chunks: Vec<v1::Update> = difference
        .upsert
        .into_iter()
        .map(|resource| v1::Update { upsert: vec![resource], ..v1::Update::default() })
        .collect();
    let head = to.manifest_head(&"main".parse().unwrap(), Revision(revision)).encode_to_vec();
    let manifest = Some(world.plane.authority.sign(head));
    chunks.push(v1::Update { removed: difference.removed, last: true, manifest, ..v1::Update::default() });
    for chunk in &mut chunks {
        chunk.revision = revision;
        chunk.nonce = format!("n{revision}");
    }
    chunks
}

async fn send(session: &mut Session, updates: Vec<v1::Update>) -> v1::Ack {
    for update in updates {
        session.say(Say::Update(update)).await;
    }
    session.hear_ack().await
}

#[tokio::test]
async fn updates_are_applied_whole_acknowledged_and_taken_up_again_after_a_break_and_a_restart() {
    let mut world = World::new().await;
    let gateway = follow(&world);
    let mut session = world.session().await;
    let hello = session.hear_hello().await;
    assert_eq!(
        (hello.features, hello.held, hello.upstreams.len()),
        (FEATURES.into_iter().chain([EXPLAINS]).map(str::to_owned).collect(), vec![], 1)
    );

    let (none, first, second) = (Resources::default(), resources(3, 5), resources(2, 5));
    let ack = send(&mut session, updates(&world, &none, &first, 5)).await;
    assert_eq!((ack.nonce.as_str(), ack.revision, ack.error.as_str()), ("n5", 5, ""));
    assert_eq!((gateway.revision(), gateway.keys()), (5, 3));
    let ack = send(&mut session, updates(&world, &first, &second, 6)).await;
    assert_eq!((ack.error.as_str(), gateway.revision(), gateway.keys()), ("", 6, 2));

    session.end(Status::unavailable("a restart")).await;
    let mut session = world.session().await;
    assert_eq!(session.hear_hello().await.held, second.held(), "it says what it has");
    assert_eq!((gateway.revision(), gateway.standing.look().connected), (6, false), "and serves meanwhile");
    drop((gateway, session));

    let gateway = follow(&world);
    assert_eq!((gateway.revision(), gateway.keys()), (6, 2), "from the disk");
    let mut session = world.session().await;
    assert_eq!(session.hear_hello().await.held, second.held());
}

#[tokio::test]
async fn after_a_refusal_the_next_update_is_a_change_to_what_was_applied() {
    let mut world = World::new().await;
    let gateway = follow(&world);
    let mut session = world.session().await;
    session.hear_hello().await;
    let (none, good) = (Resources::default(), resources(3, 5));
    send(&mut session, updates(&world, &none, &good, 5)).await;

    let mut forged = updates(&world, &good, &resources(9, 6), 6);
    forged.last_mut().unwrap().manifest.as_mut().unwrap().signature[0] ^= 1;
    assert_eq!(send(&mut session, forged).await.error, "the manifest has a signature that is not right");
    let older = send(&mut session, updates(&world, &good, &resources(4, 6), 4)).await;
    assert!(older.error.contains("older than 5"), "{}", older.error);
    let mut bad = resources(3, 5);
    let unknown =
        v1::Tenant { id: "globex".to_owned(), quota_store: "nowhere".to_owned(), ..Default::default() };
    let name = ResourceName::global(ResourceKind::Tenant, "globex");
    bad.insert(name, Resource::new(7, unknown.encode_to_vec().into()));
    let invalid = send(&mut session, updates(&world, &good, &bad, 7)).await;
    assert_eq!(invalid.error, "tenants[globex].quota_store: there is no quota store \"nowhere\"");
    assert_eq!((gateway.revision(), gateway.keys()), (5, 3), "the last good one serves on");
    let state = gateway.standing.look();
    assert_eq!((state.refused_revisions, state.refusal.is_some()), (3, true));

    let mended = send(&mut session, updates(&world, &good, &resources(4, 8), 8)).await;
    assert_eq!((mended.error.as_str(), gateway.revision(), gateway.keys()), ("", 8, 4));
    assert_eq!(gateway.standing.look().refusal, None);
}

#[tokio::test]
async fn when_the_two_sides_do_not_mean_the_same_everything_is_asked_for_again() {
    let mut world = World::new().await;
    let gateway = follow(&world);
    let mut session = world.session().await;
    session.hear_hello().await;
    let (none, good, next) = (Resources::default(), resources(3, 5), resources(5, 6));
    send(&mut session, updates(&world, &none, &good, 5)).await;
    let mut lossy = updates(&world, &good, &next, 6);
    // The new key that stands last, before the end.
    lossy.remove(lossy.len() - 2);
    assert_eq!(send(&mut session, lossy).await.error, "what arrived is not what was signed");
    assert!(session.hear().await.is_none(), "it has no more to say on this stream");
    drop(session);

    let mut session = world.session().await;
    assert_eq!(session.hear_hello().await.held, vec![]);
    assert_eq!((gateway.revision(), gateway.keys()), (5, 3));
    let ack = send(&mut session, updates(&world, &none, &next, 6)).await;
    assert_eq!((ack.error.as_str(), gateway.revision(), gateway.keys()), ("", 6, 5));
}

#[tokio::test]
async fn a_revoked_gateway_has_nobody_to_serve_and_forgets_its_bundle() {
    let mut world = World::new().await;
    let gateway = follow(&world);
    let mut session = world.session().await;
    session.hear_hello().await;
    send(&mut session, updates(&world, &Resources::default(), &resources(3, 5), 5)).await;
    let kept = world.state.path().join("enrolment/bundle");
    assert!(kept.exists());
    let details = ErrorDetails::with_error_info(reason::AGENT_REVOKED, reason::DOMAIN, HashMap::new());
    session.end(Status::with_error_details(Code::PermissionDenied, "revoked", details)).await;
    eventually("nobody is served", || gateway.keys() == 0).await;
    eventually("the bundle is gone", || !kept.exists()).await;
    let state = gateway.standing.look();
    assert_eq!((state.revoked, state.applied_revision), (true, None));
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_kept_and_shown_by_a_new_stream() {
    let mut world = World::new().await;
    let managed = world.managed();
    let mut source = managed.source(Vec::new(), Environment::default(), world.looks()).unwrap();
    let Loaded::Nobody(snapshot) = source.load().unwrap() else { panic!("there is no bundle yet") };
    let standing = managed.standing();
    let (sender, _snapshots) = watch::channel(Arc::new(snapshot));
    let follow = tokio::spawn(source.follow(sender, |_| {}));
    let ends = standing.look().certificate_ends.unwrap();
    let mut first = world.session().await;
    first.hear_hello().await;

    // Sixteen hours and a bit: two thirds of its day are over.
    world.time.fetch_add(17 * 3_600 * 1_000, Ordering::Relaxed);
    let plane = Destination::ControlPlane(managed.authority());
    let spool = SpoolWriter::start(world.state.path(), Clock::System, plane).unwrap();
    let running = managed.start(&spool);
    eventually("a new certificate is in force", || standing.look().certificate_ends > Some(ends)).await;
    assert_eq!(world.plane.renewals(), 1);
    let mut second = world.session().await;
    second.hear_hello().await;
    assert!(first.hear().await.is_none(), "the stream with the old one is over");
    let kept = Identity::load(world.state.path()).unwrap();
    assert_eq!(Some(kept.not_after), standing.look().certificate_ends);
    follow.abort();
    running.finish().await;
}
