//! How much configuration a tenant and a pool may have: no more than a gateway takes.

use super::*;
use crate::db::{DbError, Full};
use attach_proto::v1;
use jiff::SignedDuration;
use sqlx::Connection as _;

const KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// With a little less than a mebibyte of keys.
fn large_provider(tenant: &str, number: usize) -> v1::IdentityProvider {
    let padding = "x".repeat(1_000_000);
    v1::IdentityProvider {
        id: format!("login-{number}"),
        tenant: tenant.to_owned(),
        issuer: format!("https://{tenant}-{number}.example"),
        audiences: vec!["gateway".to_owned()],
        jwks: format!(r#"{{"keys":[{KEY}],"more":"{padding}"}}"#),
        ..Default::default()
    }
}

impl World {
    async fn fill(&self, tenant: &str) -> (usize, OpError) {
        for number in 0.. {
            if let Err(error) =
                set_identity_provider(&self.db, &self.operator, large_provider(tenant, number)).await
            {
                return (number, error);
            }
        }
        unreachable!("a tenant without bounds")
    }

    /// Of the rows as they are now, tenant by tenant, and of the pool.
    fn assert_counted(&self, after: &str) {
        let tables = ["identity_provider", "identity_audience", "api_key", "usage_limit", "access_rule"];
        let rows = tables.map(|table| {
            format!("select tenant_id, room_of('{table}', to_jsonb(it), octet_length(it::text)) room from {table} it")
        });
        let query = format!(
            "select string_agg(tenant_id || ' ' || bytes || ' ' || coalesce(sum, 0), ',' order by tenant_id) from tenant
                 left join (select tenant_id, sum(room) from ({}) it group by tenant_id) it using (tenant_id)
             union all
             select 'pool ' || bytes || ' ' || (
                 select coalesce(sum(bytes), 0) from tenant join pool_membership using (tenant_id)
                 where pool_id = pool.id and until is null)
             from pool",
            rows.join(" union all ")
        );
        for line in self.test.as_superuser(&query).unwrap().split(['\n', ',']) {
            let mut words = line.split(' ');
            let (whose, counted, is) = (words.next(), words.next(), words.next());
            assert_eq!(counted, is, "{whose:?} after {after}");
        }
    }
}

#[tokio::test]
async fn a_tenant_that_fills_its_room_leaves_room_to_the_others_of_its_pool() {
    let Some(world) = World::with_tenants(&["acme", "globex", "initech"]).await else { return };
    let (taken, refused) = world.fill("acme").await;
    assert!(matches!(refused, OpError::Db(DbError::Full(Full::Tenant))), "{refused:?}");
    assert_eq!(taken, 16);
    let key = issue_key(&world.db, &world.operator, &id("globex"), new_key("ci"), now()).await;
    assert!(key.is_ok(), "{key:?}");

    remove_identity_provider(&world.db, &world.operator, &id("acme"), &"login-3".parse().unwrap())
        .await
        .unwrap();
    set_identity_provider(&world.db, &world.operator, large_provider("acme", 99)).await.unwrap();

    let (taken, refused) = world.fill("globex").await;
    assert!(matches!(refused, OpError::Db(DbError::Full(_))), "after {taken}: {refused:?}");
    let (taken, refused) = world.fill("initech").await;
    assert!(matches!(refused, OpError::Db(DbError::Full(Full::Pool))), "after {taken}: {refused:?}");
    // What makes it no larger is taken in a full pool, too.
    let key = issue_key(&world.db, &world.operator, &id("initech"), new_key("ci"), now()).await.unwrap().0;
    revoke_key(&world.db, &world.operator, &id("initech"), &key.id).await.unwrap();
    remove_tenant_from_pool(&world.db, &world.operator, &pool(), &id("acme")).await.unwrap();
    world.assert_counted("a tenant left a full pool");
    set_identity_provider(&world.db, &world.operator, large_provider("initech", 50)).await.unwrap();
    let back = add_tenant_to_pool(&world.db, &world.operator, &pool(), &id("acme")).await;
    assert!(matches!(back, Err(OpError::Db(DbError::Full(Full::Pool)))), "{back:?}");
}

#[tokio::test]
async fn what_tenants_had_before_anybody_counted_is_counted() {
    let Some(postgres) = POSTGRES.as_ref() else { return };
    let test = postgres.database();
    let mut owner = sqlx::PgConnection::connect(&test.owner_url).await.unwrap();
    db::MIGRATOR.run_to(8, &mut owner).await.unwrap();
    test.as_superuser(
        r#"insert into quota_store (id, kind, version) values ('local', 'local', 0);
           insert into tenant (tenant_id, name, quota_store_id, created_at, version)
               select name, name, 'local', now(), 1 from unnest(array['acme', 'globex', 'gone']) name;
           insert into pool (id, name, revision, created_at) values ('main', 'All hosts', 1, now());
           insert into pool_membership (tenant_id, pool_id, since, until) values
               ('acme', 'main', now(), null), ('globex', 'main', now(), null),
               ('gone', 'main', now() - interval '1 day', now());
           insert into api_key (tenant_id, id, name, sha256, owner, created_at, version)
               select tenant_id, 'key', 'ci', sha256(tenant_id::bytea), 'alice', now(), 1 from tenant;
           insert into identity_provider (tenant_id, id, issuer, settings, version)
               values ('acme', 'login', 'https://login.example', '{"key_source": "KEY_SOURCE_CONTROL_PLANE"}', 1);
           insert into identity_audience (tenant_id, provider_id, issuer, audience)
               values ('acme', 'login', 'https://login.example', 'gateway')"#,
    )
    .unwrap();
    drop(owner);
    db::migrate(&test.owner_url, Some(&test.serving_login)).await.unwrap();
    let db = Database::open(&test.serving_url).await.unwrap();
    let world = World { test, db, operator: Actor::Operator { name: "root".to_owned() } };
    world.assert_counted("the migration");
    let least = world.test.as_superuser("select min(bytes) > 50 and max(bytes) > 131072 from tenant");
    assert_eq!(least, Ok("t".to_owned()));
    issue_key(&world.db, &world.operator, &id("globex"), new_key("ci"), now()).await.unwrap();
    world.assert_counted("a key");
}

#[tokio::test]
async fn the_room_that_is_taken_follows_each_change() {
    let Some(world) = World::with_tenants(&["acme", "globex"]).await else { return };
    let (db, operator, acme) = (&world.db, &world.operator, id("acme"));
    let (key, _) = issue_key(db, operator, &acme, new_key("ci"), now()).await.unwrap();
    world.assert_counted("a key");
    rotate_key(db, operator, &acme, &key.id, SignedDuration::from_hours(1), now()).await.unwrap();
    world.assert_counted("its rotation");
    set_limit(db, operator, &limit("globex", 100)).await.unwrap();
    set_limit(db, operator, &limit("globex", 100_000)).await.unwrap();
    world.assert_counted("a limit twice");
    let mut provider = large_provider("globex", 1);
    set_identity_provider(db, operator, provider.clone()).await.unwrap();
    provider.jwks = String::new();
    provider.key_source = v1::KeySource::ControlPlane.into();
    provider.audiences.push("another".to_owned());
    set_identity_provider(db, operator, provider).await.unwrap();
    world.assert_counted("a provider that changed");
    let reckoned = world.test.as_superuser("select bytes > 131072 from tenant where tenant_id = 'globex'");
    assert_eq!(reckoned, Ok("t".to_owned()), "keys to come are reckoned with");
    revoke_key(db, operator, &acme, &key.id).await.unwrap();
    world.assert_counted("a revocation");
    remove_identity_provider(db, operator, &id("globex"), &"login-1".parse().unwrap()).await.unwrap();
    remove_limit(db, operator, &id("globex"), &"tokens".parse().unwrap()).await.unwrap();
    world.assert_counted("removals");
    assert_eq!(world.test.as_superuser("select sum(bytes) from tenant"), Ok("0".to_owned()));
}
