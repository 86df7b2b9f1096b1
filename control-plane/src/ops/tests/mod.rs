//! On a real Postgres, as the login that serves.

use super::*;
use crate::{
    db::{self, Database, OpenError, Unfit, audit},
    domain::actor::Actor,
};
use attach_proto::{
    bundle::{Counter, Durability, Limit, LimitScope, Measure, QuotaOutage, Tenant},
    id::{PoolId, TenantId},
    key_text::has_form,
};
use attach_tests::{Postgres, TestDatabase};
use jiff::Timestamp;
use std::{sync::LazyLock, time::Duration};

mod isolation;
mod keys;
mod order;
mod predicates;
mod room;
mod sharing;
mod trail;

/// One server for all tests of this process, a database for each; the last to end stops it.
static POSTGRES: LazyLock<Option<Postgres>> = LazyLock::new(Postgres::start);

pub(crate) struct World {
    pub(crate) test: TestDatabase,
    pub(crate) db: Database,
    pub(crate) operator: Actor,
}

const NOW: &str = "2026-11-21T12:00:00Z";

impl World {
    /// A migrated database with a pool and a store. `None` where there is no Postgres.
    async fn start() -> Option<Self> {
        let test = POSTGRES.as_ref()?.database();
        db::migrate(&test.owner_url, Some(&test.serving_login)).await.unwrap();
        let db = Database::open(&test.serving_url).await.unwrap();
        let operator = Actor::Operator { name: "root".to_owned() };
        create_pool(&db, &operator, &pool(), "All hosts").await.unwrap();
        test.as_superuser("insert into quota_store (id, kind, version) values ('local', 'local', 0)")
            .unwrap();
        Some(Self { test, db, operator })
    }

    pub(crate) async fn with_tenants(names: &[&str]) -> Option<Self> {
        let world = Self::start().await?;
        for name in names {
            create_tenant(&world.db, &world.operator, &tenant(name), &pool()).await.unwrap();
        }
        Some(world)
    }

    fn revision(&self) -> i64 {
        self.test.as_superuser("select revision from pool").unwrap().parse().unwrap()
    }
}

pub(crate) fn pool() -> PoolId {
    "main".parse().unwrap()
}

pub(crate) fn id(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant {
        id: id(name),
        name: format!("{name} Ltd"),
        quota_store: "local".parse().unwrap(),
        on_quota_outage: QuotaOutage::Deny,
        durability: Durability::Strict,
        did: None,
    }
}

pub(crate) fn limit(tenant: &str, amount: u64) -> Limit {
    Limit {
        id: "tokens".parse().unwrap(),
        tenant: id(tenant),
        counter: Counter::EachPrincipal,
        scope: LimitScope {
            principals: Vec::new(),
            groups: vec!["staff".to_owned()],
            models: vec!["llama3".parse().unwrap()],
            keys: Vec::new(),
        },
        measure: Measure::TotalTokens,
        window: Duration::from_secs(60),
        amount,
    }
}

pub(crate) fn new_key(name: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        owner: "alice".to_owned(),
        groups: vec!["staff".to_owned()],
        scopes: Vec::new(),
        models: Vec::new(),
        expires_at: None,
        limits: Vec::new(),
    }
}

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_its_hash_alone() {
    let Some(world) = World::with_tenants(&["acme"]).await else { return };
    let (key, text) = issue_key(&world.db, &world.operator, &id("acme"), new_key("ci"), now()).await.unwrap();
    assert!(has_form(text.as_str().as_bytes()));
    let kept = world.test.as_superuser("select encode(sha256, 'hex') from api_key").unwrap();
    let sha256 =
        world.test.as_superuser(&format!("select encode(sha256('{}'), 'hex')", text.as_str())).unwrap();
    assert_eq!(kept, sha256);
    let everything = world.test.dump();
    let secret = text.as_str().rsplit('_').next().unwrap();
    assert!(everything.contains(key.id.as_str()) && !everything.contains(secret));
}

#[tokio::test]
async fn a_revoked_key_stays_on_record_and_can_not_be_revoked_again() {
    let Some(world) = World::with_tenants(&["acme"]).await else { return };
    let (key, _) = issue_key(&world.db, &world.operator, &id("acme"), new_key("ci"), now()).await.unwrap();
    let before = world.revision();
    revoke_key(&world.db, &world.operator, &id("acme"), &key.id).await.unwrap();
    assert!(world.revision() > before, "the agents hear of it");
    let again = revoke_key(&world.db, &world.operator, &id("acme"), &key.id).await;
    assert!(matches!(again, Err(OpError::NotFound("key"))), "{again:?}");
    assert_eq!(
        world.test.as_superuser("select count(*) from api_key where revoked_at is not null"),
        Ok("1".to_owned())
    );
}

#[tokio::test]
async fn a_limit_is_kept_as_it_was_set_and_the_last_word_counts() {
    let Some(world) = World::with_tenants(&["acme"]).await else { return };
    set_limit(&world.db, &world.operator, &limit("acme", 100)).await.unwrap();
    set_limit(&world.db, &world.operator, &limit("acme", 50)).await.unwrap();
    let row = "select counter, measure, window_ms, amount, principals, groups, models from usage_limit";
    let expected = "each_principal|total_tokens|60000|50|{}|{staff}|{llama3}".to_owned();
    assert_eq!(world.test.as_superuser(row), Ok(expected));
    remove_limit(&world.db, &world.operator, &id("acme"), &"tokens".parse().unwrap()).await.unwrap();
    let again = remove_limit(&world.db, &world.operator, &id("acme"), &"tokens".parse().unwrap()).await;
    assert!(matches!(again, Err(OpError::NotFound("limit"))), "{again:?}");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_leaves_nothing_behind() {
    let Some(world) = World::with_tenants(&["acme"]).await else { return };
    let before = world.test.dump();
    let World { db, operator, .. } = &world;

    let again = create_tenant(db, operator, &tenant("acme"), &pool()).await;
    assert!(matches!(again, Err(OpError::Exists("tenant"))), "{again:?}");
    let nowhere = create_tenant(db, operator, &tenant("other"), &"nowhere".parse().unwrap()).await;
    assert!(matches!(nowhere, Err(OpError::NotFound("pool"))), "{nowhere:?}");
    let storeless = Tenant { quota_store: "nowhere".parse().unwrap(), ..tenant("other") };
    let storeless = create_tenant(db, operator, &storeless, &pool()).await;
    assert!(matches!(storeless, Err(OpError::NotFound("quota store"))), "{storeless:?}");
    let unknown = issue_key(db, operator, &id("other"), new_key("x"), now()).await;
    assert!(matches!(unknown, Err(OpError::NotFound("tenant"))), "{unknown:?}");
    let nameless = issue_key(db, operator, &id("acme"), new_key(""), now()).await;
    assert!(matches!(nameless, Err(OpError::Invalid { field: "name", .. })), "{nameless:?}");
    let late = NewKey { expires_at: Some(now()), ..new_key("x") };
    let late = issue_key(db, operator, &id("acme"), late, now()).await;
    assert!(matches!(late, Err(OpError::Invalid { field: "expires_at", .. })), "{late:?}");
    let short = Limit { window: Duration::from_millis(1), ..limit("acme", 1) };
    let short = set_limit(db, operator, &short).await;
    assert!(matches!(short, Err(OpError::Invalid { field: "window", .. })), "{short:?}");
    let nothing = set_limit(db, operator, &limit("acme", 0)).await;
    assert!(matches!(nothing, Err(OpError::Invalid { field: "amount", .. })), "{nothing:?}");

    assert_eq!(world.test.dump(), before);
}

#[tokio::test]
async fn a_login_that_could_pass_the_policies_does_not_serve() {
    let Some(world) = World::start().await else { return };
    let refused = async |url: &str| match Database::open(url).await {
        Err(OpenError::Unfit(unfit)) => unfit,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(world.test.superuser_url()).await, Unfit::Superuser(_)));
    assert!(matches!(refused(&world.test.owner_url).await, Unfit::Owner { .. }));
    let login = &world.test.serving_login;
    let alter = |word: &str| world.test.as_superuser(&format!("alter role {login} {word}")).unwrap();
    alter("bypassrls");
    assert!(matches!(refused(&world.test.serving_url).await, Unfit::BypassesPolicies(_)));
    alter("nobypassrls");
    alter("inherit");
    assert!(matches!(refused(&world.test.serving_url).await, Unfit::Inherits { .. }));
    alter("noinherit");
    world.test.as_superuser(&format!("revoke attach_ingest from {login}")).unwrap();
    assert!(matches!(refused(&world.test.serving_url).await, Unfit::NoMember { role: "attach_ingest", .. }));
}

#[tokio::test]
async fn a_schema_that_this_program_does_not_know_is_not_served() {
    let Some(world) = World::start().await else { return };
    let version = |change: &str| {
        world.test.as_superuser(&format!("update _sqlx_migrations set version = version {change}")).unwrap()
    };
    let latest = db::MIGRATOR.iter().map(|migration| migration.version).max().unwrap();
    version("+ 100");
    let newer = Database::open(&world.test.serving_url).await;
    let Err(OpenError::NewerSchema { found, known }) = newer else { panic!("{newer:?}") };
    assert_eq!((found, known), (latest + 100, latest));
    version("- 101");
    let older = Database::open(&world.test.serving_url).await;
    let Err(OpenError::OlderSchema { found: Some(found), needed }) = older else { panic!("{older:?}") };
    assert_eq!((found, needed), (latest - 1, latest));
    world.test.as_superuser("drop table _sqlx_migrations").unwrap();
    let none = Database::open(&world.test.serving_url).await;
    assert!(matches!(none, Err(OpenError::OlderSchema { found: None, .. })), "{none:?}");
}
