use super::{texts, verdict};
use crate::v1::{self, ApiKey};

fn key(id: &str, digit: char) -> ApiKey {
    ApiKey { id: id.to_owned(), tenant: "acme".to_owned(), sha256: digest(digit), ..ApiKey::default() }
}

fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn at(seconds: i64) -> Option<pbjson_types::Timestamp> {
    Some(pbjson_types::Timestamp { seconds, nanos: 0 })
}

type Edit = fn(&mut ApiKey);

/// The first key is as it should be, and the edit is made to the second.
const CASES: &[(&str, Edit, &str)] = &[
    ("another key", |_| {}, "ok"),
    ("the same key", |k| k.sha256 = digest('a'), "sha256: is the same key as an earlier one"),
    ("the same key in capitals", |k| k.sha256 = digest('A'), "sha256: is the same key"),
    ("a digit too few", |k| k.sha256.truncate(63), "sha256: must be 64 hexadecimal digits"),
    ("a digit too many", |k| k.sha256.push('0'), "sha256: must be 64 hexadecimal digits"),
    ("a letter that is no digit", |k| k.sha256 = digest('g'), "sha256: must be 64 hexadecimal digits"),
    ("nothing", |k| k.sha256.clear(), "sha256: must be 64 hexadecimal digits"),
    ("the same id", |k| k.id = "first".to_owned(), "id: \"first\" is taken by keys[0]"),
    (
        "the same id, of another tenant",
        |k| (k.id, k.tenant) = ("first".to_owned(), "globex".to_owned()),
        "ok",
    ),
    ("an id that is none", |k| k.id = "a b".to_owned(), "id: "),
    ("a tenant that nobody is", |k| k.tenant = "initech".to_owned(), "tenant: there is no tenant"),
    ("a scope of each", |k| k.scopes = texts(["inference", "read", "admin", "act_as"]), "ok"),
    ("one of nobody", |k| k.scopes = texts(["read", "root"]), "scopes[1]: must be one of"),
    ("one in capitals", |k| k.scopes = texts(["Admin"]), "scopes[0]: must be one of"),
    ("a model", |k| k.models = texts(["llama3.2"]), "ok"),
    ("one without a name", |k| k.models = texts(["llama3.2", ""]), "models[1]: "),
    ("an end", |k| k.expires_at = at(1_800_000_000), "ok"),
    ("one after all time", |k| k.expires_at = at(i64::MAX), "expires_at: is not a moment"),
    (
        "a secret of before",
        |k| (k.previous_sha256, k.previous_until) = (digest('c'), at(1_800_000_000)),
        "ok",
    ),
    ("one that never ends", |k| k.previous_sha256 = digest('c'), "previous_until: is missing"),
    ("the end of none", |k| k.previous_until = at(1_800_000_000), "previous_until: is of no use"),
    (
        "one that is another's",
        |k| (k.previous_sha256, k.previous_until) = (digest('a'), at(1_800_000_000)),
        "previous_sha256: is the same key as an earlier one",
    ),
    (
        "one that is its own of now",
        |k| (k.previous_sha256, k.previous_until) = (digest('b'), at(1_800_000_000)),
        "previous_sha256: is the same key as an earlier one",
    ),
    (
        "one that is cut",
        |k| (k.previous_sha256, k.previous_until) = ("c".repeat(63), at(1_800_000_000)),
        "previous_sha256: must be 64 hexadecimal digits",
    ),
];

#[test]
fn whatever_is_wrong_with_a_key_refuses_the_bundle_and_says_where() {
    for (name, edit, expected) in CASES {
        let mut second = key("second", 'b');
        edit(&mut second);
        let verdict = verdict(Vec::new(), vec![key("first", 'a'), second]);
        let expected = if *expected == "ok" { "ok".to_owned() } else { format!("keys[1].{expected}") };
        assert!(verdict.starts_with(&expected), "{name}: {verdict}");
    }
}

#[test]
fn a_key_may_do_what_its_scopes_say_and_without_any_whatever_is_no_administration() {
    use crate::bundle::Permission::{Admin, Inference, Read};
    for (scopes, permissions, act_as) in [
        (texts([]), vec![Inference, Read], false),
        (texts(["act_as"]), vec![Inference, Read], true),
        (texts(["read"]), vec![Read], false),
        (texts(["admin", "act_as"]), vec![Admin], true),
        (texts(["inference", "admin"]), vec![Inference, Admin], false),
    ] {
        let wire = v1::ApiKey { scopes: scopes.clone(), ..key("k", 'a') };
        let key = crate::bundle::ApiKey::try_from(wire).unwrap();
        assert_eq!((key.permissions, key.act_as), (permissions, act_as), "{scopes:?}");
    }
}
