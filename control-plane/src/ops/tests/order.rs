//! A number that a reader follows is never seen before a smaller one.

use super::*;
use crate::db::heads;

/// Two transactions that begin in one order and would commit in the other.
#[tokio::test]
async fn a_later_number_commits_after_the_earlier_one_or_not_before_it_is_given_up() {
    let Some(world) = World::start().await else { return };
    let mut first = world.db.operator().await.unwrap();
    let one = heads::next_config(first.connection()).await.unwrap();
    let db = world.db.clone();
    let second = tokio::spawn(async move {
        let mut second = db.operator().await.unwrap();
        let two = heads::next_config(second.connection()).await.unwrap();
        second.commit().await.unwrap();
        two
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished(), "the second number waits for the first");
    let seen = world.test.as_superuser("select n from head where id = 1").unwrap();
    assert!(seen.parse::<i64>().unwrap() < one, "nobody has seen either");
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), one + 1);
}

#[tokio::test]
async fn a_number_of_a_transaction_that_was_given_up_is_given_again() {
    let Some(world) = World::start().await else { return };
    let mut given_up = world.db.operator().await.unwrap();
    let one = heads::next_config(given_up.connection()).await.unwrap();
    drop(given_up);
    let mut next = world.db.operator().await.unwrap();
    assert_eq!(heads::next_config(next.connection()).await.unwrap(), one, "readers find no gap");
}

#[tokio::test]
async fn fifty_changes_at_once_all_count_and_the_pool_stands_at_the_last() {
    let Some(world) = World::with_tenants(&["acme", "globex"]).await else { return };
    let before = world.revision();
    let changes = (0..50_u32).map(|number| {
        let (db, operator) = (world.db.clone(), world.operator.clone());
        tokio::spawn(async move {
            let tenant = if number % 2 == 0 { "acme" } else { "globex" };
            issue_key(&db, &operator, &id(tenant), new_key(&format!("key {number}")), now()).await
        })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap().unwrap();
    }
    assert_eq!(world.revision(), before + 50);
    assert_eq!(world.test.as_superuser("select count(distinct version) from api_key"), Ok("50".to_owned()));
}
