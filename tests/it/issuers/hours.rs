//! An issuer that is away for hours. The gateway's wall clock is moved, by which the age of keys is judged; its pauses pass as
//! they do.

use super::{chat, engine, load::Load, setup, standing::until, stranger};
use attach_tests::{
    Issuer, Signer, WallClock, eventually, free_port,
    issuer::{claims_of, now},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_served_for_a_day_by_the_clock_without_their_issuer_and_again_when_it_is_back() {
    let port = free_port();
    let issuer = Issuer::start_at(port).await;
    let (url, key, engine) = (issuer.url(), Arc::new(Signer::new("k")), engine().await);
    issuer.publish(&[&key]);
    let clock = WallClock::new();
    let gateway = setup(std::slice::from_ref(&url), &engine).with_wall_clock(&clock).start().await;
    until(&gateway, &url, "it was heard", |it| it.usable && !it.stale).await;

    // Good for days. Of one caller the verdict is remembered; of the other one each is made anew.
    let token = {
        let (url, key) = (url.clone(), Arc::clone(&key));
        move |name: &str| key.token(&claims_of(&url, name, &json!({"exp": now() + 100 * 3600})))
    };
    let known = token("alice");
    let mut asked = 0;
    let new = token.clone();
    let callers: [Box<dyn FnMut() -> String + Send>; 2] = [
        Box::new({
            let known = known.clone();
            move || known.clone()
        }),
        Box::new(move || {
            asked += 1;
            new(&format!("bob-{asked}"))
        }),
    ];
    let load = Load::start(&gateway, Duration::from_millis(20), callers);
    let stranger = stranger(&issuer);
    drop(issuer);
    // From here on the issuer is asked in vain, again and again.
    assert_eq!(chat(&gateway, &stranger).await.status, 503);
    until(&gateway, &url, "that it is away is told", |it| it.error.is_some() && it.usable).await;
    for hours in [1, 6, 12, 23] {
        clock.be_ahead(HOUR * hours);
        let what = format!("{hours} hours later its keys are told to be old");
        let old = until(&gateway, &url, &what, |it| {
            it.age.is_some_and(|age| age > f64::from(hours) * 3600.0 - 60.0)
        })
        .await;
        assert!(old.usable && old.stale && old.keys == 1 && old.error.is_some(), "{old:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let served = load.end().await.all_well();
    println!("{served} requests served while the issuer was away for 23 hours, none refused");

    clock.be_ahead(HOUR * 25);
    for token in [&known, &token("carol")] {
        let answer = chat(&gateway, token).await;
        assert_eq!(answer.status, 503, "also what was verified before: {}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
    let ended = until(&gateway, &url, "that they serve no more is told", |it| !it.usable).await;
    assert!(ended.stale && ended.error.is_some() && ended.failed_fetches > 0, "{ended:?}");

    let issuer = Issuer::start_at(port).await;
    issuer.publish(&[&key]);
    eventually("alice is served", Duration::from_secs(60), async || {
        (chat(&gateway, &known).await.status == 200).then_some(())
    })
    .await;
    let back = until(&gateway, &url, "that it is back is told", |it| it.error.is_none()).await;
    assert!(back.usable && !back.stale, "{back:?}");
}
