//! What a connection of HTTP/2 can be made to cost by frames that ask for nothing.

use super::{
    PATIENCE, World, request,
    wire::{
        ACK, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, block, flood, frame, opening,
    },
};
use attach_tests::Script;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// Frames in one write, so that a flood is one.
const MANY: u32 = 200;

async fn ends(world: &World, name: &str, settings: &[(u16, u32)], bytes: &[u8]) {
    let mut stream = world.connect().await;
    stream.write_all(&opening(settings)).await.expect("it reads");
    // A slow machine sends fewer than the gateway allows in a second; this many seconds are not needed for that.
    let written = flood(stream, bytes, PATIENCE).await;
    assert!(written.is_some(), "{name}: the connection goes on");
}

fn repeated(frame: &[u8]) -> Vec<u8> {
    frame.repeat(MANY.try_into().expect("a count"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_frames_ends_its_connection_and_nobody_else_feels_it() {
    let world = World::start(Script::Echo).await;
    let honest = async {
        loop {
            world.is_well().await;
        }
    };
    let floods = async {
        ends(&world, "pings", &[], &repeated(&frame(PING, 0, 0, &[0; 8]))).await;
        ends(&world, "settings", &[], &repeated(&frame(SETTINGS, 0, 0, &[]))).await;
        ends(&world, "acknowledged pings", &[], &repeated(&frame(PING, ACK, 0, &[0; 8]))).await;
        ends(&world, "priorities", &[], &repeated(&frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1]))).await;
        ends(&world, "windows", &[], &repeated(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))).await;
        let endless = [
            frame(HEADERS, 0, 1, &request(&[])),
            repeated(&frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")]))),
        ];
        ends(&world, "continuations", &[], &endless.concat()).await;
        let empty = [frame(HEADERS, 0, 1, &request(&[])), repeated(&frame(CONTINUATION, 0, 1, &[]))];
        ends(&world, "empty continuations", &[], &empty.concat()).await;
    };
    tokio::select! {
        () = floods => {}
        () = honest => {}
    }
    assert!(world.engine.seen().iter().all(|seen| seen.target == "/v1/chat/completions"));
    world.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_opened_and_taken_back_at_once_end_their_connection() {
    let world = World::start(Script::Echo).await;
    for is_authorised in [false, true] {
        let mut stream = world.connect().await;
        let credential = if is_authorised { "Bearer sk-test-0123456789" } else { "Bearer nobody" };
        let headers = request(&[("authorization", credential)]);
        let mut bytes = opening(&[]);
        for number in 0..20_000_u32 {
            let id = number * 2 + 1;
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &headers));
            bytes.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        }
        let (mut from, mut to) = tokio::io::split(stream);
        let reading = tokio::spawn(async move { tokio::io::copy(&mut from, &mut tokio::io::sink()).await });
        let _ = to.write_all(&bytes).await;
        let ended = tokio::time::timeout(PATIENCE, reading).await;
        assert!(ended.is_ok(), "the connection goes on");
        let seen = world.engine.seen().len();
        assert!(if is_authorised { seen < 1_000 } else { seen == 0 }, "{seen}");
        world.is_well().await;
        stream = world.connect().await;
        stream.shutdown().await.expect("open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_headers_that_is_too_large_is_no_request() {
    let world = World::start(Script::Echo).await;
    let mut stream = world.connect().await;
    let large = "x".repeat(15 << 10);
    let mut bytes = [opening(&[]), frame(HEADERS, END_STREAM, 1, &request(&[("x-0", &large)]))].concat();
    for name in ["x-1", "x-2"] {
        bytes.extend(frame(CONTINUATION, 0, 1, &block(&[(name, &large)])));
    }
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &block(&[("x-3", &large)])));
    stream.write_all(&bytes).await.expect("it reads");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(world.engine.seen().is_empty());
    world.is_well().await;
}

/// The window of each stream is shut: an answer is asked for and never taken.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits 30 s; tests/run all"]
async fn who_asks_and_shuts_its_window_is_let_go_and_frees_the_engine() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let world = World::start(Script::Echo).await;
    let mut stream = world.connect().await;
    let headers = request(&[]);
    let mut bytes = opening(&[(INITIAL_WINDOW_SIZE, 0)]);
    for id in [1, 3, 5] {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &headers));
    }
    stream.write_all(&bytes).await.expect("it reads");
    let began = std::time::Instant::now();
    let closed = async { while super::wire::read(&mut stream).await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("closed in time");
    println!("closed after {:.1} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() > Duration::from_secs(25));
    world.is_well().await;
}
