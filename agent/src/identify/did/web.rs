//! The document of a `did:web`, as the key set that it amounts to. From there on it is kept and renewed like an issuer's.

use super::super::{
    excerpt::Excerpt,
    json::{JsonFault, parse_object},
};
use attach_proto::did::{Did, KeyKind, Method, PublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum DocumentFault {
    #[error("it is no DID document: not a JSON object without duplicates")]
    NotADocument,
    #[error("its id is {found}, not {expected}")]
    OtherDid { found: Excerpt, expected: Excerpt },
    #[error("it has no list of keys for authentication")]
    NoAuthentication,
}

/// A JSON Web Key Set of the keys by which the DID authenticates (DID Core section 5.3.1), each under its full id. What a key
/// may be is decided where key sets are read.
pub(in crate::identify) fn key_set(document: &[u8], did: &str) -> Result<Vec<u8>, DocumentFault> {
    let document = parse_object(document).map_err(|fault| match fault {
        JsonFault::NotJson | JsonFault::NotAnObject | JsonFault::Duplicate(_) => DocumentFault::NotADocument,
    })?;
    let found = document.get("id").and_then(Value::as_str).unwrap_or_default();
    if found != did {
        return Err(DocumentFault::OtherDid { found: Excerpt::of(found), expected: Excerpt::of(did) });
    }
    let list = |name: &str| document.get(name).and_then(Value::as_array).map(Vec::as_slice);
    let methods = list("verificationMethod").unwrap_or_default();
    let keys = list("authentication").ok_or(DocumentFault::NoAuthentication)?.iter().filter_map(|entry| {
        // A method may stand there itself, or be named.
        let method = match entry {
            Value::Object(method) => Some(method),
            Value::String(id) => {
                let id = absolute(id, did);
                methods.iter().filter_map(Value::as_object).find(|it| id_of(it, did).as_ref() == Some(&id))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        };
        method.and_then(|method| jwk(method, did))
    });
    Ok(json!({ "keys": keys.collect::<Vec<_>>() }).to_string().into_bytes())
}

fn absolute(id: &str, did: &str) -> String {
    if id.starts_with('#') { format!("{did}{id}") } else { id.to_owned() }
}

fn id_of(method: &Map<String, Value>, did: &str) -> Option<String> {
    Some(absolute(method.get("id")?.as_str()?, did))
}

/// `None` for a key that another DID controls, or in a form that is not read here.
fn jwk(method: &Map<String, Value>, did: &str) -> Option<Value> {
    let id =
        id_of(method, did).filter(|id| id.strip_prefix(did).is_some_and(|rest| rest.starts_with('#')))?;
    if method.get("controller")?.as_str()? != did {
        return None;
    }
    let mut jwk = match (method.get("publicKeyJwk"), method.get("publicKeyMultibase")) {
        (Some(Value::Object(jwk)), None) => jwk.clone(),
        (None, Some(Value::String(text))) => multikey(text)?,
        _ => return None,
    };
    jwk.insert("kid".to_owned(), id.into());
    Some(Value::Object(jwk))
}

/// Of Ed25519 alone: a point of a curve stands compressed in it, and in a key set with both coordinates.
fn multikey(text: &str) -> Option<Map<String, Value>> {
    let did: Did = format!("did:key:{text}").parse().ok()?;
    let Method::Key(PublicKey { kind: KeyKind::Ed25519, bytes }) = did.method() else { return None };
    let members =
        [("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", URL_SAFE_NO_PAD.encode(bytes))];
    Some(members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
}
