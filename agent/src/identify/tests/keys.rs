//! API keys: what is refused and by which check, and what holds of those that are good. Names that start with `k` and a
//! number are the cases of that number.

use super::{issuer::TestIssuer, mint::TestKey, *};
use attach_proto::{bundle::PreviousSecret, key_text};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;

const ID: &str = "0123456789abcdef";

/// Of the key `k1`, and the whole of it.
fn secret(character: char) -> String {
    character.to_string().repeat(key_text::SECRET_CHARACTERS)
}

fn key(character: char) -> String {
    key_text::write(ID, &secret(character))
}

fn sha256_of(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// `k1` is good; `k2` has ended, `k3` was rotated and its first secret has ended.
fn world() -> World {
    let mut ended = api_key("k2", "acme", "sk-ended");
    ended.expires_at = Some(at(-1));
    let mut rotated = api_key("k3", "acme", "sk-second");
    rotated.previous = Some(PreviousSecret { sha256: sha256_of("sk-first"), until: at(0) });
    let damaged = api_key("k4", "acme", "atk_damaged");
    World::with(
        bundle(1, Vec::new(), vec![api_key("k1", "acme", &key('s')), ended, rotated, damaged]),
        quick(),
    )
}

#[tokio::test]
async fn k1_every_way_in_which_a_key_is_not_good_is_refused_by_its_own_check() {
    let world = world();
    let good = key('s');
    let changed = |at: usize| {
        let mut text = good.clone().into_bytes();
        text[at] = if text[at] == b'x' { b'y' } else { b'x' };
        String::from_utf8(text).unwrap()
    };
    let hex: String = sha256_of(&good).iter().map(|byte| format!("{byte:02x}")).collect();
    let bearer = |text: &str| ("authorization", format!("Bearer {text}"));
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.x";
    let cases = [
        ("a character of its id is another", vec![bearer(&changed(10))], "malformed_api_key"),
        ("a character of its secret is another", vec![bearer(&changed(40))], "malformed_api_key"),
        ("a character of its checksum is another", vec![bearer(&changed(69))], "malformed_api_key"),
        ("cut by one", vec![bearer(&good[..69])], "malformed_api_key"),
        ("one longer", vec![bearer(&format!("{good}0"))], "malformed_api_key"),
        ("in capitals", vec![bearer(&good.to_uppercase())], "unknown_api_key"),
        (
            "in capitals but for its prefix",
            vec![bearer(&format!("atk_{}", good[4..].to_uppercase()))],
            "malformed_api_key",
        ),
        ("the prefix alone", vec![bearer("atk_")], "malformed_api_key"),
        (
            "with a character of another alphabet",
            vec![bearer(&good.replace("atk_0", "atk_-"))],
            "malformed_api_key",
        ),
        ("between quotation marks", vec![bearer(&format!("\"{good}\""))], "unknown_api_key"),
        ("with an escaped zero", vec![bearer(&format!("{good}%00"))], "malformed_api_key"),
        ("whole, and nobody's", vec![bearer(&key('t'))], "unknown_api_key"),
        (
            "another's id with its secret",
            vec![bearer(&key_text::write("fedcba9876543210", &secret('s')))],
            "unknown_api_key",
        ),
        ("its id", vec![bearer(ID)], "unknown_api_key"),
        ("its secret", vec![bearer(&secret('s'))], "unknown_api_key"),
        ("what is kept of it", vec![bearer(&hex)], "unknown_api_key"),
        ("a gateway's join token", vec![bearer(&good.replace("atk_", "atj_"))], "unknown_api_key"),
        ("an operator's token", vec![bearer(&good.replace("atk_", "ato_"))], "unknown_api_key"),
        ("SQL", vec![bearer("'/**/OR/**/pg_sleep(5)--")], "unknown_api_key"),
        ("SQL with a blank", vec![bearer("' OR pg_sleep(5)--")], "two_credentials"),
        ("twice", vec![bearer(&good), bearer(&good)], "two_credentials"),
        ("in a list", vec![bearer(&format!("{good},{good}"))], "two_credentials"),
        ("beside another", vec![bearer(&good), ("x-api-key", key('t'))], "two_credentials"),
        ("as the user of Basic", vec![("authorization", basic(&format!("{good}:")))], "no_credential"),
        ("of Basic without a colon", vec![("authorization", basic(&good))], "malformed_basic"),
        (
            "a token as the password of Basic",
            vec![("authorization", basic(&format!("ada:{jwt}")))],
            "unknown_api_key",
        ),
        ("of another scheme", vec![("authorization", format!("Digest {good}"))], "scheme_not_known"),
        (
            "far too long",
            vec![("x-api-key", format!("{good}{}", "0".repeat(16 * 1024)))],
            "credential_too_large",
        ),
        ("expired", vec![bearer("sk-ended")], "expired_api_key"),
        ("its secret was replaced", vec![bearer("sk-first")], "expired_api_key"),
    ];
    for (what, lines, expected) in &cases {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let fault = world.headers(&lines).await.unwrap_err();
        assert_eq!(fault.code(), *expected, "{what}");
        // The text is for a log.
        let told = format!("{fault} {fault:?}");
        assert!(
            !told.contains(&secret('s')) && !told.contains("sk-") && !told.contains("pg_sleep"),
            "{what}: {told}"
        );
    }
    assert!(cases.len() >= 23);
    assert!(world.bearer(&good).await.is_ok(), "the twin of all of them");
    assert!(world.bearer("sk-second").await.is_ok(), "a key of another form is known by its hash");
}

#[tokio::test]
async fn k1_a_key_is_the_same_caller_by_every_way_that_it_can_come() {
    let world = world();
    let good = key('s');
    let by_bearer = world.bearer(&good).await.unwrap();
    assert_eq!(
        (by_bearer.tenant.as_str(), by_bearer.subject.as_str(), by_bearer.key.as_ref().unwrap().as_str()),
        ("acme", "owner-of-k1", "k1")
    );
    let bounds = by_bearer.bounds.as_ref().unwrap();
    assert_eq!(bounds.permissions, [Permission::Inference, Permission::Read]);
    assert!(bounds.models.is_empty() && !bounds.act_as);
    let (named, nameless) = (basic(&format!("ada:{good}")), basic(&format!(":{good}")));
    for lines in [
        &[("x-api-key", good.as_str())][..],
        &[("authorization", &named)],
        &[("authorization", &nameless)],
        &[("authorization", &named), ("x-api-key", &good)],
        &[("authorization", &named), ("x-attach-tenant", "globex"), ("x-attach-user", "root")],
    ] {
        assert_eq!(world.headers(lines).await.unwrap(), by_bearer, "{lines:?}");
    }
}

/// Were it looked up, it would be found.
#[tokio::test]
async fn k4_a_key_that_is_not_whole_is_not_even_looked_up() {
    assert_eq!(world().verdict("atk_damaged").await, "malformed_api_key");
}

#[tokio::test]
async fn k1_a_rotated_key_has_two_secrets_until_the_time_comes_also_for_those_who_were_let_in_before() {
    let mut rotated = api_key("k1", "acme", &key('n'));
    rotated.previous = Some(PreviousSecret { sha256: sha256_of(&key('o')), until: at(60) });
    rotated.expires_at = Some(at(120));
    let world = World::with(bundle(1, Vec::new(), vec![rotated]), quick());
    let (new, old) = (world.bearer(&key('n')).await.unwrap(), world.bearer(&key('o')).await.unwrap());
    assert_eq!(new, old, "one caller, whichever secret it has");
    world.advance(Duration::from_millis(59_999));
    assert_eq!((world.verdict(&key('n')).await, world.verdict(&key('o')).await), ("ok", "ok"));
    world.advance(Duration::from_millis(1));
    assert_eq!((world.verdict(&key('n')).await, world.verdict(&key('o')).await), ("ok", "expired_api_key"));
    world.advance(Duration::from_secs(60));
    assert_eq!(world.verdict(&key('n')).await, "expired_api_key");
}

#[tokio::test]
async fn k5_a_key_that_the_bundle_has_no_more_is_refused_although_it_was_let_in_before() {
    let mut world = world();
    assert_eq!(world.verdict(&key('s')).await, "ok");
    world.snapshot = bundle(2, Vec::new(), vec![api_key("k9", "acme", &key('t'))]);
    assert_eq!((world.verdict(&key('s')).await, world.verdict(&key('t')).await), ("unknown_api_key", "ok"));
}

#[tokio::test]
async fn a_token_that_was_let_in_as_a_bearer_is_not_let_in_as_a_password() {
    let signer = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&signer]).await;
    let world = World::of(&issuer).await;
    let token = signer.token(&claims(&issuer.url));
    assert_eq!(world.verdict(&token).await, "ok");
    let password = basic(&format!("ada:{token}"));
    let verdict = world.headers(&[("authorization", &password)]).await;
    assert_eq!(verdict.unwrap_err().code(), "unknown_api_key");
}
