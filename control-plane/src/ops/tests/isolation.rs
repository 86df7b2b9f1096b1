//! Nothing of one tenant reaches another, by either of two locks.

use super::*;
use crate::db::DbError;

/// Tables that hold nothing of a tenant's: the migrator's own.
const WITHOUT_POLICIES: &str = "_sqlx_migrations";

#[tokio::test]
async fn every_table_holds_everybody_to_its_policies() {
    let Some(world) = World::start().await else { return };
    let open = world
        .test
        .as_superuser(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
             and not (relrowsecurity and relforcerowsecurity)",
        )
        .unwrap();
    assert_eq!(open, WITHOUT_POLICIES);
    let without = world
        .test
        .as_superuser(
            "select relname from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'tenant_id'
             where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition and not exists (
                 select from pg_policy where polrelid = pg_class.oid and 'attach_app'::regrole = any (polroles)
                 and pg_get_expr(polqual, polrelid) like '%tenant_id = current_tenant()%'
                 and pg_get_expr(polwithcheck, polrelid) like '%tenant_id = current_tenant()%')",
        )
        .unwrap();
    assert_eq!(without, "", "each table of tenants lets attach_app see and write its own rows alone");
    let past_the_table = world
        .test
        .as_superuser(
            "select relname from pg_class where relispartition and relnamespace = 'public'::regnamespace
             and relacl is not null and relacl::text like '%attach_%'",
        )
        .unwrap();
    assert_eq!(past_the_table, "", "nobody who serves reaches a partition but through its table");
    let beyond = world
        .test
        .as_superuser(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace and prosecdef
             union all select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('v', 'm')",
        )
        .unwrap();
    assert_eq!(beyond, "", "no function and no view looks past the policies");
}

/// One more, one less, or one for somebody else is a decision: it belongs into this list. What each of them says is held by
/// the tests of what it allows.
#[tokio::test]
async fn the_policies_are_those_that_were_decided() {
    let Some(world) = World::start().await else { return };
    let policies = "select tablename, policyname, lower(cmd), array_to_string(roles, ',') from pg_policies
        where schemaname = 'public' order by tablename collate \"C\", policyname collate \"C\"";
    let policies = world.test.as_superuser(policies).unwrap();
    let decided = include_str!("policies.txt");
    for (found, decided) in policies.lines().zip(decided.lines()) {
        assert_eq!(found, decided);
    }
    assert_eq!(policies.lines().count(), decided.lines().count());
}

/// The first lock: even a query that names no tenant sees one.
#[tokio::test]
async fn a_tenants_transaction_sees_and_changes_only_its_own_rows_whatever_it_asks() {
    let Some(world) = World::with_tenants(&["acme", "globex"]).await else { return };
    for name in ["acme", "globex"] {
        issue_key(&world.db, &world.operator, &id(name), new_key(name), now()).await.unwrap();
        set_limit(&world.db, &world.operator, &limit(name, 100)).await.unwrap();
    }
    let mut tx = world.db.tenant(id("acme")).await.unwrap();
    let (connection, _) = tx.parts();
    for table in ["tenant", "pool_membership", "api_key", "usage_limit", "audit_entry"] {
        let query = format!("select distinct tenant_id from {table}");
        let seen: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&mut *connection).await.unwrap();
        assert_eq!(seen, ["acme"], "{table}");
    }
    let changed = sqlx::query("update usage_limit set amount = 1").execute(&mut *connection).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    let stolen = sqlx::query("update usage_limit set tenant_id = 'globex'").execute(&mut *connection).await;
    assert!(stolen.unwrap_err().to_string().contains("row-level security"));
}

#[tokio::test]
async fn another_tenants_key_is_not_there() {
    let Some(world) = World::with_tenants(&["acme", "globex"]).await else { return };
    let (key, _) = issue_key(&world.db, &world.operator, &id("globex"), new_key("x"), now()).await.unwrap();
    let revoked = revoke_key(&world.db, &world.operator, &id("acme"), &key.id).await;
    assert!(matches!(revoked, Err(OpError::NotFound("key"))), "{revoked:?}");
    assert_eq!(world.test.as_superuser("select revoked_at is null from api_key"), Ok("t".to_owned()));
}

/// One connection for all: what the transaction before could see is forgotten.
#[tokio::test]
async fn a_connection_that_served_one_tenant_shows_nothing_of_it_to_the_next() {
    let Some(world) = World::with_tenants(&["acme", "globex"]).await else { return };
    for round in 0..200 {
        let name = if round % 2 == 0 { "acme" } else { "globex" };
        let mut tx = world.db.tenant(id(name)).await.unwrap();
        let (connection, _) = tx.parts();
        let seen: Vec<String> =
            sqlx::query_scalar("select tenant_id from tenant").fetch_all(&mut *connection).await.unwrap();
        assert_eq!(seen, [name]);
        if round % 3 == 0 {
            // Left in the middle.
            drop(tx);
        } else {
            tx.commit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn one_issuer_and_audience_lead_to_one_tenant_or_each_of_their_organisations_does() {
    let Some(world) = World::with_tenants(&["acme", "globex", "initech"]).await else { return };
    let insert = |tenant: &str, issuer: &str, organisations: &[&str]| {
        let rows = organisations.iter().map(|of| format!("('{tenant}', 'idp', '{issuer}', 'api', '{of}')"));
        world.test.as_superuser(&format!(
            "insert into identity_provider (tenant_id, id, issuer, settings, version)
                 values ('{tenant}', 'idp', '{issuer}', '{{}}', 1);
             insert into identity_audience (tenant_id, provider_id, issuer, audience, organisation) values {}",
            rows.collect::<Vec<_>>().join(", ")
        ))
    };
    insert("acme", "https://login.example/", &[""]).unwrap();
    for organisations in [&[""][..], &["globex"]] {
        let second = insert("globex", "https://login.example", organisations).unwrap_err();
        assert!(second.contains("identity_audience_leads_to_one_tenant"), "{organisations:?}: {second}");
    }

    insert("globex", "https://other.example", &["a", "b"]).unwrap();
    for organisations in [&[""][..], &["b", "c"]] {
        let second = insert("initech", "https://other.example/", organisations).unwrap_err();
        assert!(second.contains("identity_audience_leads_to_one_tenant"), "{organisations:?}: {second}");
    }
    insert("initech", "https://other.example", &["c", "d"]).unwrap();
    for (table, id) in [("identity_provider", "id"), ("identity_audience", "provider_id")] {
        let moved = world.test.as_superuser(&format!(
            "update {table} set issuer = 'https://login.example' where tenant_id = 'globex' and {id} = 'idp'"
        ));
        let refused = moved.unwrap_err();
        assert!(refused.contains("violates") || refused.contains("conflicting"), "{table}: {refused}");
    }
}

#[tokio::test]
async fn a_statement_that_a_role_may_not_run_is_a_fault_and_no_conflict() {
    let Some(world) = World::with_tenants(&["acme"]).await else { return };
    let mut tx = world.db.tenant(id("acme")).await.unwrap();
    let (connection, _) = tx.parts();
    let denied = sqlx::query("delete from tenant").execute(connection).await.unwrap_err();
    assert!(matches!(DbError::from(denied), DbError::Statement(_)));
}
