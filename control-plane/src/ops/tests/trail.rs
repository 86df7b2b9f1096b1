//! The audit trail: whole, or seen not to be.

use super::*;

async fn broken_at(world: &World) -> Option<i64> {
    let mut tx = world.db.operator().await.unwrap();
    audit::first_broken(tx.connection()).await.unwrap()
}

/// Entries 1 to 5: the pool, the tenant, a limit, a key, its end.
async fn world() -> Option<World> {
    let world = World::with_tenants(&["acme"]).await?;
    set_limit(&world.db, &world.operator, &limit("acme", 100)).await.unwrap();
    let (key, _) = issue_key(&world.db, &world.operator, &id("acme"), new_key("ci"), now()).await.unwrap();
    revoke_key(&world.db, &world.operator, &id("acme"), &key.id).await.unwrap();
    Some(world)
}

#[tokio::test]
async fn each_change_has_its_entry_and_the_chain_is_whole() {
    let Some(world) = world().await else { return };
    let actions =
        world.test.as_superuser("select string_agg(action, ' ' order by n) from audit_entry").unwrap();
    assert_eq!(actions, "create_pool create_tenant set_limit issue_key revoke_key");
    assert_eq!(world.test.as_superuser("select distinct actor from audit_entry"), Ok("root".to_owned()));
    assert_eq!(broken_at(&world).await, None);
}

#[tokio::test]
async fn whatever_is_done_to_the_trail_behind_its_back_shows() {
    let tampering = [
        ("update audit_entry set target = 'other' where n = 3", 3),
        (r#"update audit_entry set detail = '{"amount": 1}' where n = 3"#, 3),
        ("update audit_entry set at = at + interval '1 s' where n = 4", 4),
        ("update audit_entry set actor = 'nobody' where n = 1", 1),
        ("delete from audit_entry where n = 2", 3),
        ("delete from audit_entry where n = 1", 2),
        ("delete from audit_entry where n = 5", 5),
        ("update audit_entry set n = n + 10 where n = 5", 5),
        ("truncate audit_entry", 5),
    ];
    for (statement, entry) in tampering {
        let Some(world) = world().await else { return };
        world.test.as_superuser(statement).unwrap();
        assert_eq!(broken_at(&world).await, Some(entry), "{statement}");
    }
}

#[tokio::test]
async fn what_can_not_be_put_on_record_does_not_happen() {
    let Some(world) = world().await else { return };
    world.test.as_superuser("revoke insert on audit_entry from attach_app").unwrap();
    let refused = set_limit(&world.db, &world.operator, &limit("acme", 1)).await;
    assert!(matches!(refused, Err(OpError::Db(_))), "{refused:?}");
    assert_eq!(world.test.as_superuser("select amount from usage_limit"), Ok("100".to_owned()));
}

#[tokio::test]
async fn nobody_who_serves_can_change_or_take_out_an_entry() {
    let Some(world) = world().await else { return };
    for statement in ["update audit_entry set actor = 'x'", "delete from audit_entry", "truncate audit_entry"]
    {
        let mut tx = world.db.operator().await.unwrap();
        let denied = sqlx::query(statement).execute(tx.connection()).await.unwrap_err();
        assert!(denied.to_string().contains("permission denied"), "{statement}: {denied}");
    }
}
