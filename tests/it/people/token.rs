//! The token that is kept.

use attach_tests::{Person, Provider, provider::CLIENT_ID};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn kept(person: &Person) -> Value {
    let files = fs::read_dir(person.tokens()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let [file] = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect::<Vec<_>>()
        .try_into()
        .expect("one token");
    serde_json::from_slice(&fs::read(file).expect("our own")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_kept_for_its_owner_alone_and_one_sign_in_lasts() {
    let provider = Provider::start().await;
    let alice = Person::at(&provider);
    // As somebody else may have made it.
    fs::create_dir_all(alice.tokens()).expect("our own folder");
    fs::set_permissions(alice.tokens(), fs::Permissions::from_mode(0o755)).expect("our own folder");

    let first = alice.token(&[]).await;
    let second = alice.run(&["token"]).await;

    assert_eq!(second.token(), first);
    assert_eq!(second.stderr, "");
    assert_eq!(provider.forms().len(), 1);
    assert_eq!(mode(&alice.tokens()), 0o700);
    for entry in fs::read_dir(alice.tokens()).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(!name.contains(CLIENT_ID), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_near_its_end_is_renewed_and_the_rotated_refresh_token_is_the_next() {
    let provider = Provider::start().await;
    // Never good for a quarter of nothing.
    provider.tokens_live(0);
    let alice = Person::at(&provider);
    let mut seen = vec![alice.token(&[]).await];
    for renewals in 1..=3 {
        seen.push(alice.token(&[]).await);
        assert_eq!(provider.asked("refresh_token"), renewals);
    }
    assert_eq!(provider.asked("device_code"), 1, "nobody had to sign in again");
    seen.dedup();
    assert_eq!(seen.len(), 4);

    // A session that ended at the provider is a new sign-in.
    provider.end_sessions();
    alice.token(&[]).await;
    assert_eq!(provider.asked("device_code"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shells_at_once_use_a_refresh_token_once() {
    let provider = Provider::start().await;
    provider.tokens_live(0);
    let alice = Person::at(&provider);
    alice.token(&[]).await;
    provider.tokens_live(3600);

    let (one, two, three) = tokio::join!(alice.token(&[]), alice.token(&[]), alice.token(&[]));

    assert_eq!((&one, &two), (&two, &three));
    assert_eq!((provider.asked("refresh_token"), provider.asked("device_code")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_shell_waits_for_the_sign_in_of_the_first() {
    let provider = Provider::start().await;
    let alice = Person::at(&provider);
    let mut first = alice.start(&["token", "--browser"]);
    let address = first.address().await;
    let mut second = alice.start(&["token", "--browser"]);
    second.line_with("waiting for it").await;
    super::pages::open(&address).await;
    assert_eq!(first.end().await.token(), second.end().await.token());
    assert_eq!(provider.asked("authorization_code"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_gets_another_and_forget_takes_it_off_the_disk() {
    let provider = Provider::start().await;
    let alice = Person::at(&provider);
    let first = alice.token(&[]).await;
    let second = alice.token(&["--fresh"]).await;
    assert_ne!(first, second);
    assert_eq!(kept(&alice)["access_token"], second);

    let forgotten = alice.run(&["token", "--forget"]).await;
    assert_eq!((forgotten.code, forgotten.stdout.as_str()), (Some(0), ""));
    assert_eq!(alice.run(&["token", "--forget"]).await.stderr, "None was kept.\n");
    alice.token(&[]).await;
    assert_eq!(provider.asked("device_code"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_serves_while_the_provider_is_away() {
    let provider = Provider::start().await;
    let alice = Person::at(&provider);
    // Near enough to its end to be renewed, and far enough to be alive.
    provider.tokens_live(20);
    let token = alice.token(&[]).await;
    let file = fs::read_dir(alice.tokens()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let file =
        file.into_iter().find(|path| path.extension().is_some_and(|name| name == "json")).expect("kept");
    let mut aged = kept(&alice);
    aged["obtained_at"] = "2020-01-01T00:00:00Z".into();
    fs::write(&file, aged.to_string()).expect("our own");

    provider.break_refreshes(true);
    assert_eq!(alice.token(&[]).await, token);
    let fresh = alice.run(&["token", "--fresh"]).await;
    assert_eq!((fresh.code, fresh.stdout.as_str()), (Some(78), ""));
    assert!(fresh.stderr.contains("could not be asked: it answered with 503"), "{}", fresh.stderr);

    provider.break_refreshes(false);
    assert_ne!(alice.token(&[]).await, token, "the refresh token is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_costs_no_more_than_a_sign_in() {
    let provider = Provider::start().await;
    let alice = Person::at(&provider);
    alice.token(&[]).await;
    let entries =
        fs::read_dir(alice.tokens()).expect("a folder").map(|entry| entry.expect("an entry").path());
    for path in entries.filter(|path| path.extension().is_some_and(|name| name == "json")) {
        fs::write(path, "{").expect("our own");
    }
    alice.token(&[]).await;
    assert_eq!(provider.asked("device_code"), 2);
}
