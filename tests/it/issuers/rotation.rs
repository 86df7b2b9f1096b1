//! New keys under load.

use super::{engine, load::Load, setup, standing::until, status};
use attach_tests::{Issuer, Signer, eventually, issuer::claims_of};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Seconds; the shortest that can be set. A renewal comes before four fifths of it have passed.
const TTL: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn two_quick_rotations_pass_unnoticed_and_a_withdrawn_key_stops_at_the_next_renewal() {
    let keys = ["first", "second", "third"].map(|id| Arc::new(Signer::new(id)));
    let [first, second, third] = &keys;
    let issuer = Issuer::start().await;
    issuer.publish(&[first]);
    let engine = engine().await;
    let url = issuer.url();
    let gateway = setup(std::slice::from_ref(&url), &engine).with("JWKS_TTL", &TTL.to_string()).start().await;
    until(&gateway, &url, "it was heard", |it| it.usable).await;
    let by_first = first.token(&claims_of(&url, "alice", &json!({})));
    assert_eq!(status(&gateway, &by_first).await, 200);

    // Each caller has a new token each time, by the key that the issuer signs with then.
    let signs_with = Arc::new(AtomicUsize::new(0));
    let callers = (0..4).map(|number| {
        let (keys, signs_with, url) = (keys.clone(), Arc::clone(&signs_with), url.clone());
        let mut asked = 0;
        move || {
            asked += 1;
            let key = &keys[signs_with.load(Ordering::SeqCst)];
            key.token(&claims_of(&url, &format!("caller-{number}-{asked}"), &json!({})))
        }
    });
    let load = Load::start(&gateway, Duration::from_millis(50), callers);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = issuer.key_fetches();
    // As a provider does who signs with a new key the moment that it has it.
    issuer.publish(&[first, second]);
    signs_with.store(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(3)).await;
    issuer.publish(&[second, third]);
    signs_with.store(2, Ordering::SeqCst);
    let rotated = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(issuer.key_fetches() - before, 2, "one look-up for each of the new keys");
    // It was withdrawn with the second one's look-up, and so was what had been verified.
    assert_eq!(status(&gateway, &by_first).await, 401);

    issuer.publish(&[third]);
    let by_second = second.token(&claims_of(&url, "bob", &json!({})));
    assert_eq!(status(&gateway, &by_second).await, 200, "nobody was asked since");
    eventually(
        "a withdrawn key stops without a reason to look it up",
        Duration::from_secs(TTL * 5),
        async || (status(&gateway, &by_second).await == 401).then_some(()),
    )
    .await;
    println!(
        "the withdrawn key stopped {:.1?} after it was withdrawn, with a TTL of {TTL} s",
        rotated.elapsed()
    );
    let served = load.end().await.all_well();
    println!("{served} requests served over two rotations, none refused");
    let standing = until(&gateway, &url, "one key is left", |it| it.keys == 1).await;
    assert!(standing.usable && standing.error.is_none(), "{standing:?}");
}
