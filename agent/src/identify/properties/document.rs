//! The document of a `did:web`.

use super::{
    super::{did::web::key_set, key_set::KeySet},
    assert_fit_for_a_log,
    written::object,
};
use attach_proto::did::{Did, Method};
use serde_json::{Map, Value};

const DID: &str = "did:web:example.com";

pub fn document(input: &[u8]) {
    let set = match key_set(input, DID) {
        Ok(set) => set,
        Err(fault) => return assert_fit_for_a_log(&fault),
    };
    let document = object(input).unwrap_or_default();
    assert_eq!(document.get("id").and_then(Value::as_str), Some(DID));
    let list = |name: &str| document.get(name).and_then(Value::as_array).map(Vec::as_slice);
    let authentication = list("authentication").unwrap_or_default();
    let all = authentication.iter().chain(list("verificationMethod").unwrap_or_default());
    let methods: Vec<_> = all.filter_map(Value::as_object).collect();
    let named: Vec<_> =
        authentication.iter().filter_map(|entry| id(entry.get("id").unwrap_or(entry))).collect();

    let set_read = object(&set).unwrap_or_default();
    let keys = set_read.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    assert!(keys.len() <= authentication.len());
    for key in keys.iter().filter_map(Value::as_object) {
        let kid = key.get("kid").and_then(Value::as_str).unwrap_or_default();
        assert!(kid.strip_prefix(DID).is_some_and(|rest| rest.starts_with('#')), "{kid}");
        assert!(named.iter().any(|id| id == kid), "{kid} does not authenticate");
        let is_its_method = |method: &&Map<String, Value>| {
            method.get("id").and_then(id).as_deref() == Some(kid)
                && method.get("controller").is_some_and(|controller| controller == DID)
                && says(method, key)
        };
        assert!(methods.iter().any(is_its_method), "{kid} is nobody's");
    }
    match KeySet::parse(&set) {
        Ok(usable) => assert!(usable.len() <= keys.len()),
        Err(fault) => assert_fit_for_a_log(&fault),
    }
}

fn id(value: &Value) -> Option<String> {
    let id = value.as_str()?;
    Some(if id.starts_with('#') { format!("{DID}{id}") } else { id.to_owned() })
}

/// Whether the method has this key, in either of its two forms.
fn says(method: &Map<String, Value>, key: &Map<String, Value>) -> bool {
    let without_id = |key: &Map<String, Value>| {
        key.iter()
            .filter(|(name, _)| *name != "kid")
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let key: Map<String, Value> = without_id(key);
    match (method.get("publicKeyJwk"), method.get("publicKeyMultibase").and_then(Value::as_str)) {
        (Some(Value::Object(jwk)), None) => without_id(jwk) == key,
        (None, Some(text)) => {
            let did: Option<Did> = format!("did:key:{text}").parse().ok();
            did.is_some_and(|did| matches!(did.method(), Method::Key(_)))
                && key.get("crv") == Some(&"Ed25519".into())
        }
        _ => false,
    }
}
