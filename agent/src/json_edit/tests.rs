use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;

const READ: &[&str] = &["model", "stream", "max_tokens", "stream_options", "options", "keep_alive", "usage"];

fn fault(body: &str) -> BodyFault {
    TopLevel::parse(body.as_bytes(), READ).expect_err(body)
}

#[test]
fn a_reader_gets_raw_values_and_their_places() {
    let body =
        " {\"model\" : \"a\\u0062\" ,\n\"x\":[1,{\"model\":2}],\"stream\":true , \"max_tokens\":1e3}\n";
    let top = TopLevel::parse(body.as_bytes(), READ).unwrap();
    let model = top.get("model").unwrap();
    assert_eq!(model.raw, "\"a\\u0062\"");
    assert_eq!(&body[model.range.clone()], model.raw);
    assert_eq!(&body[model.member_range.clone()], "\"model\" : \"a\\u0062\"");
    assert_eq!(top.get("stream").unwrap().raw, "true");
    assert_eq!(top.get("max_tokens").unwrap().raw, "1e3");
    assert!(top.get("x").is_none() && top.get("options").is_none());
}

#[test]
fn a_caller_who_writes_a_key_twice_is_refused() {
    assert_eq!(fault(r#"{"model":"a","model":"b"}"#), BodyFault::DuplicateKey { key: "model" });
    assert_eq!(fault(r#"{"model":"a","mod\u0065l":"b"}"#), BodyFault::DuplicateKey { key: "model" });
    assert!(TopLevel::parse(br#"{"x":1,"x":2}"#, READ).is_ok(), "nobody reads x");
}

#[test]
fn a_caller_who_writes_a_key_that_go_folds_is_refused() {
    for found in
        ["MODEL", "Model", "moDel", "uſage", "ſtream", "max_toKens", "\u{212a}eep_alive", "\\u017ftream"]
    {
        let body = format!("{{\"{found}\":1}}");
        assert!(matches!(fault(&body), BodyFault::CaseVariant { .. }), "{found}");
    }
    let both = fault(r#"{"model":"a","MODEL":"b"}"#);
    assert_eq!(both, BodyFault::CaseVariant { key: "model", found: "MODEL".to_owned() });
    for other in ["modell", "mode", "mödel", "ſ", "\\ud800model", ""] {
        assert!(TopLevel::parse(format!("{{\"{other}\":1}}").as_bytes(), READ).is_ok(), "{other}");
    }
}

#[test]
fn a_caller_is_told_what_is_wrong_with_a_body() {
    assert_eq!(fault("{\"model\":\n  nope}"), BodyFault::Invalid { line: 2, column: 4 });
    assert_eq!(fault("[1]"), BodyFault::NotAnObject);
    assert_eq!(fault("\"text\""), BodyFault::NotAnObject);
    for body in [
        "",
        " ",
        "{",
        "{\"a\":1} x",
        "{\"a\":1}{}",
        "{\"a\":1,}",
        "\u{feff}{}",
        "{a:1}",
        "[1",
        "{\"a\":\"\n\"}",
    ] {
        assert!(matches!(fault(body), BodyFault::Invalid { .. }), "{body:?}");
    }
    let bytes = b"{\"model\":\"\xff\"}";
    assert_eq!(TopLevel::parse(bytes, READ).unwrap_err(), BodyFault::NotUtf8 { offset: 10 });
    // Also where the wrong place comes behind another fault.
    assert!(matches!(fault(r#"{"MODEL":1,"#), BodyFault::Invalid { .. }));
}

#[test]
fn a_deeply_nested_body_takes_no_stack() {
    let depth = 1_000_000;
    let body = format!("{{\"x\":{}{},\"model\":1}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(TopLevel::parse(body.as_bytes(), READ).unwrap().get("model").unwrap().raw, "1");
}

#[test]
fn edits_change_nothing_but_their_places() {
    let body = "{ \"model\":\"a\", \"options\": { \"num_predict\" : -1 }, \"stream_options\":{} }\n";
    let top = TopLevel::parse(body.as_bytes(), READ).unwrap();
    let options = TopLevel::parse_nested(top.get("options").unwrap(), &["num_predict"]).unwrap();
    let stream = TopLevel::parse_nested(top.get("stream_options").unwrap(), &["include_usage"]).unwrap();
    let mut edits = Edits::default();
    edits.insert_member(top.tail(), "cache_salt", "\"s\"");
    edits.insert_member(stream.tail(), "include_usage", "true");
    edits.insert_member(stream.tail(), "continuous_usage_stats", "true");
    edits.replace(options.get("num_predict").unwrap().range.clone(), "256");
    edits.replace(top.get("model").unwrap().range.clone(), "\"engine/name\"");
    let edited = edits.apply(Bytes::from_static(body.as_bytes()));
    assert_eq!(
        edited,
        "{ \"model\":\"engine/name\", \"options\": { \"num_predict\" : 256 }, \"stream_options\":{\"include_usage\":true,\"continuous_usage_stats\":true} ,\"cache_salt\":\"s\"}\n"
    );
    let options = TopLevel::parse_nested(top.get("options").unwrap(), &["Num_Predict"]);
    assert!(matches!(options, Err(BodyFault::CaseVariant { .. })), "nested keys fold too");
}

#[test]
fn a_body_without_edits_is_not_copied() {
    let body = Bytes::from_static(b"{\"a\":1}");
    assert_eq!(Edits::default().apply(body.clone()).as_ptr(), body.as_ptr());
    let empty = TopLevel::parse(b" { } ", READ).unwrap();
    let mut edits = Edits::default();
    edits.insert_member(empty.tail(), "model", "1");
    assert_eq!(edits.apply(Bytes::from_static(b" { } ")), " { \"model\":1} ");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z\"\\\\é]{0,6}", inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn a_replaced_member_is_the_only_thing_that_changes(mut value in prop::collection::btree_map("[a-z{}\"]{1,9}", any_json(), 0..6), model in any_json(), pretty in any::<bool>()) {
        value.insert("model".to_owned(), model);
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let top = TopLevel::parse(text.as_bytes(), &["model"]).unwrap();
        let mut edits = Edits::default();
        edits.replace(top.get("model").unwrap().range.clone(), "\"new\"");
        edits.insert_member(top.tail(), "A", "1");
        let edited: Value = serde_json::from_slice(&edits.apply(Bytes::from(text.clone()))).unwrap();
        value.insert("model".to_owned(), json!("new"));
        value.insert("A".to_owned(), json!(1));
        prop_assert_eq!(edited, json!(value));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\",:a1\\\\u ]{0,40}") {
        let _ = TopLevel::parse(&bytes, READ);
        let told = TopLevel::parse(text.as_bytes(), READ).is_ok();
        let valid = serde_json::from_str::<IgnoredAny>(&text).is_ok() && text.trim_ascii().starts_with('{');
        prop_assert_eq!(told, valid);
    }
}

/// The vectors lie in a folder beside the project, where there is one.
fn vectors() -> Option<Value> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/vectors/jsontestsuite/test_parsing.json"))
        .find(|path| path.is_file());
    let Some(path) = found else {
        eprintln!("SKIPPED: no shared/vectors/jsontestsuite/test_parsing.json beside the project");
        return None;
    };
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

#[test]
fn every_rejected_text_of_jsontestsuite_is_refused() {
    let Some(vectors) = vectors() else { return };
    let mut counts = [0; 3];
    for case in vectors["cases"].as_array().unwrap() {
        let decode = |key: &str| STANDARD.decode(case[key].as_str().unwrap_or_default()).unwrap();
        let repeat = usize::try_from(case["repeat"].as_u64().unwrap_or(0)).unwrap();
        let text = [decode("b64"), decode("repeat_b64").repeat(repeat), decode("tail_b64")].concat();
        let member = [b"{\"x\":".as_slice(), &text, b"}"].concat();
        let results = [TopLevel::parse(&text, READ).is_err(), TopLevel::parse(&member, READ).is_err()];
        let name = case["name"].as_str().unwrap();
        match case["expect"].as_str().unwrap() {
            "reject" => {
                assert!(results[0], "{name} was taken");
                counts[0] += 1;
            }
            "accept" => {
                assert!(!results[1], "{name} was refused as a member");
                let object = text.trim_ascii().starts_with(b"{");
                let own = name.contains("duplicated_key");
                assert_eq!(results[0], !object && !own, "{name}");
                counts[1] += 1;
            }
            _ => counts[2] += 1,
        }
    }
    assert!(counts[0] >= 188 && counts[1] >= 95, "only {counts:?} were read");
}
