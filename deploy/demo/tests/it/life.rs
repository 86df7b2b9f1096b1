use crate::wire::{World, open};
use std::time::{Duration, Instant};
use tokio::{io::AsyncReadExt, time::sleep};

const LONG: &str = r#"{"model":"demo","prompt":"count to 50000"}"#;
const LONG_WHOLE: &str = r#"{"model":"demo","prompt":"count to 50000","stream":false}"#;

#[tokio::test]
async fn a_token_reaches_its_client_before_the_next_one_is_made() {
    let world = World::new(Duration::from_millis(200)).await;
    let started = Instant::now();
    let mut client = open(world.address, "POST", "/api/generate", "", LONG).await;
    let mut received = String::new();
    while !received.contains("\"response\":\" am\"") {
        let mut buffer = [0; 4096];
        let n = client.read(&mut buffer).await.unwrap();
        received.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        assert!(n > 0, "{received}");
        assert!(world.engine.generated() as usize <= received.matches("\"response\"").count() + 1);
    }
    let waited = started.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_millis(390)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_generation() {
    let world = World::new(Duration::from_millis(5)).await;
    for body in [LONG, LONG_WHOLE] {
        let client = open(world.address, "POST", "/api/generate", "", body).await;
        until(|| world.engine.running() == 1 && world.engine.generated() > 0).await;
        drop(client);
        until(|| world.engine.running() == 0).await;
    }
    let made = world.engine.generated();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(world.engine.generated(), made, "nothing is made for nobody");
}

#[tokio::test]
async fn a_demo_does_not_listen_where_other_machines_reach_it() {
    let refused = attach_demo::bind("0.0.0.0".parse().unwrap(), 0).await.unwrap_err();
    assert!(refused.to_string().contains("loopback"), "{refused}");
}

async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 5 s");
        sleep(Duration::from_millis(5)).await;
    }
}
