//! The second lock: each query names its tenant, and holds where no policy does.
//!
//! All policies are opened, and two tenants have everything by the same names. What is asked for one of them must show
//! nothing of the other, and what is done to one must leave the other as it is. A query that loses its tenant fails here.

use super::*;
use crate::{
    db::{
        access_rules, api_keys,
        consumption::{self, EventPlace},
        identity_providers, limits, pools, tenants,
    },
    domain::{page::Page, tenant::TenantChange, usage::UsageQuery},
};
use attach_proto::{
    bundle::{AccessRule, Permission},
    v1,
};

/// Whose names give it away wherever they show.
const OTHER: &str = "globex";

/// All that has a tenant.
const TABLES: [&str; 11] = [
    "tenant",
    "pool_membership",
    "identity_provider",
    "identity_audience",
    "api_key",
    "key_use",
    "usage_limit",
    "access_rule",
    "usage_event",
    "usage_hour",
    "audit_entry",
];

fn provider(tenant: &str) -> v1::IdentityProvider {
    v1::IdentityProvider {
        id: "idp".to_owned(),
        tenant: tenant.to_owned(),
        issuer: format!("https://{tenant}.example"),
        audiences: vec![format!("{tenant}-api")],
        ..v1::IdentityProvider::default()
    }
}

fn rule(tenant: &str) -> AccessRule {
    AccessRule {
        id: "rule".parse().unwrap(),
        tenant: id(tenant),
        principals: vec![format!("{tenant}-user")],
        groups: Vec::new(),
        roles: Vec::new(),
        scopes: Vec::new(),
        models: Vec::new(),
        permissions: vec![Permission::Inference],
    }
}

async fn fill(world: &World, name: &str) {
    let (db, operator) = (&world.db, &world.operator);
    let (key, _) = issue_key(db, operator, &id(name), new_key(name), now()).await.unwrap();
    set_limit(db, operator, &limit(name, 100)).await.unwrap();
    set_identity_provider(db, operator, provider(name)).await.unwrap();
    set_access_rule(db, operator, &rule(name)).await.unwrap();
    let usage = format!(
        "insert into usage_event select '{name}', '{NOW}', gen_random_uuid(), '{NOW}', 'main', 'agent', gen_random_uuid(), 1,
             sha256('x'), '{name}-request', 'chat', 'openai', 'llama3', true, 1, '{name}-user', '', '', '[]', '', '[]', 1, 200,
             1, '[]', 5, 50;
         insert into usage_hour values ('{name}', '{NOW}', 1, '', '{name}-user', 'llama3', 'input_tokens', 1, 7, 1)"
    );
    world.test.as_superuser(&usage).unwrap();
    // Ids of keys are random; were two tenants' alike, each would have its own.
    let used = format!(
        "insert into key_use select tenant_id, '{}', now() from tenant; delete from key_use where key_id not in
             (select id from api_key)",
        key.id
    );
    world.test.as_superuser(&used).unwrap();
}

/// With two tenants of the same names, and no policy that holds anybody.
async fn world() -> Option<World> {
    let world = World::with_tenants(&["acme", OTHER]).await?;
    for name in ["acme", OTHER] {
        fill(&world, name).await;
    }
    // What changes for a tenant is not told to the agents of a pool that does not serve it.
    let side = "side".parse().unwrap();
    create_pool(&world.db, &world.operator, &side, "Elsewhere").await.unwrap();
    create_tenant(&world.db, &world.operator, &tenant("umbrella"), &side).await.unwrap();
    let open = "do $$ declare name text; begin
            foreach name in array string_to_array(current_setting('attach.tables'), ' ') loop
                execute format('create policy open on %I using (true) with check (true)', name);
            end loop;
        end $$";
    let open = format!("set attach.tables = '{}'; {open}", TABLES.join(" "));
    world.test.as_superuser(&open).unwrap();
    Some(world)
}

impl World {
    /// All that the other tenant has.
    fn others(&self) -> Vec<String> {
        let rows = |table: &&str| {
            let rows = format!("select * from {table} where tenant_id = '{OTHER}' order by 1, 2, 3");
            self.test.as_superuser(&rows).unwrap()
        };
        let elsewhere = self.test.as_superuser("select revision from pool where id = 'side'").unwrap();
        TABLES.iter().map(rows).chain([elsewhere]).collect()
    }
}

#[tokio::test]
async fn all_tables_with_a_tenant_are_tried() {
    let Some(world) = World::start().await else { return };
    let tables =
        "select relname from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'tenant_id'
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition";
    let mut known: Vec<_> = TABLES.to_vec();
    known.sort_unstable();
    let mut found: Vec<_> = world.test.as_superuser(tables).unwrap().lines().map(str::to_owned).collect();
    found.sort_unstable();
    assert_eq!(found, known);
}

#[tokio::test]
async fn without_any_policy_what_is_read_of_one_tenant_shows_nothing_of_another() {
    let Some(world) = world().await else { return };
    // Both ways: a query that finds the first of both would be right by chance.
    for (own, other) in [("acme", OTHER), (OTHER, "acme")] {
        let shown = read(&world, &id(own), other).await;
        assert!(shown.contains(own) && !shown.contains(other), "{shown}");
    }
}

/// All that can be read of a tenant.
async fn read(world: &World, own: &TenantId, other: &str) -> String {
    let key = world.test.as_superuser(&format!("select id from api_key where tenant_id = '{other}'"));
    let key_of_other = key.unwrap().parse().unwrap();
    let mut tx = world.db.tenant(own.clone()).await.unwrap();
    let (db, _) = tx.parts();
    let all: i64 = sqlx::query_scalar("select count(*) from tenant").fetch_one(&mut *db).await.unwrap();
    assert_eq!(all, 3, "no policy holds");

    let by_name = Page::<String>::first();
    let keys = api_keys::list(db, own, &by_name).await.unwrap().items;
    let limits = limits::list(db, own, &by_name).await.unwrap().items;
    let providers = identity_providers::list(db, own, &by_name).await.unwrap().items;
    let rules = access_rules::list(db, own, &by_name).await.unwrap().items;
    let memberships = pools::of_tenant(db, own).await.unwrap();
    assert!(keys[0].last_used_at.is_some());
    assert_eq!([keys.len(), limits.len(), providers.len(), rules.len(), memberships.len()], [1; 5]);
    world.test.as_superuser("update usage_limit set keys = array['named']").unwrap();
    let of_keys = limits::of_keys(db, own, &["named".to_owned()]).await.unwrap();
    assert_eq!(of_keys.len(), 1);
    world.test.as_superuser("update usage_limit set keys = '{}'").unwrap();
    let limit = limits::find(db, own, &"tokens".parse().unwrap()).await.unwrap().unwrap();
    let provider = identity_providers::find(db, own, &"idp".parse().unwrap()).await.unwrap().unwrap();
    assert!(api_keys::find(db, own, &key_of_other).await.unwrap().is_none());
    let tenant = tenants::find(db, own).await.unwrap().unwrap();
    let hour = jiff::SignedDuration::from_hours(1);
    let (from, to) = (now() - hour, now() + hour);
    let query = UsageQuery { from, to, step: None, by_user: true, by_model: true };
    let sums = consumption::sums(db, own, &query).await.unwrap().unwrap();
    let most = consumption::most(db, own, &query, 10).await.unwrap();
    let events = consumption::events(db, own, &Page::<EventPlace>::first()).await.unwrap().items;
    assert_eq!((sums.len(), most.1, events.len()), (1, 1, 1));
    let trail = audit::list(db, Some(own), &Page::first()).await.unwrap().items;
    assert!(!trail.is_empty());
    format!(
        "{keys:?} {limits:?} {of_keys:?} {providers:?} {rules:?} {memberships:?} {limit:?} {provider:?} {tenant:?} {sums:?} {most:?}
         {events:?} {trail:?}"
    )
}

#[tokio::test]
async fn without_any_policy_what_is_done_to_one_tenant_leaves_another_as_it_is() {
    let Some(world) = world().await else { return };
    let (db, operator, acme) = (&world.db, &world.operator, id("acme"));
    let before = world.others();
    set_limit(db, operator, &limit("acme", 7)).await.unwrap();
    set_identity_provider(db, operator, provider("acme")).await.unwrap();
    set_access_rule(db, operator, &rule("acme")).await.unwrap();
    let change = TenantChange { name: Some("New".to_owned()), ..TenantChange::default() };
    update_tenant(db, operator, &acme, &change).await.unwrap();
    let key = |tenant: &str| {
        let id = world.test.as_superuser(&format!("select id from api_key where tenant_id = '{tenant}'"));
        id.unwrap().parse().unwrap()
    };
    let refused = revoke_key(db, operator, &acme, &key(OTHER)).await;
    assert!(matches!(refused, Err(OpError::NotFound("key"))), "{refused:?}");
    let rotate = async |id: &attach_proto::id::KeyId| {
        rotate_key(db, operator, &acme, id, jiff::SignedDuration::ZERO, now()).await
    };
    assert!(matches!(rotate(&key(OTHER)).await, Err(OpError::NotFound("key"))));
    rotate(&key("acme")).await.unwrap();
    assert_eq!(world.others(), before);
    world.test.as_superuser(&format!("update usage_limit set keys = array['{}']", key("acme"))).unwrap();
    let before = world.others();
    revoke_key(db, operator, &acme, &key("acme")).await.unwrap();
    assert_eq!(world.others(), before);
    set_limit(db, operator, &limit("acme", 7)).await.unwrap();
    remove_limit(db, operator, &acme, &"tokens".parse().unwrap()).await.unwrap();
    remove_identity_provider(db, operator, &acme, &"idp".parse().unwrap()).await.unwrap();
    remove_access_rule(db, operator, &acme, &"rule".parse().unwrap()).await.unwrap();
    remove_tenant_from_pool(db, operator, &pool(), &acme).await.unwrap();
    assert_eq!(world.others(), before);
}
