use crate::wire::request;
use attach_demo::{
    bind,
    issuer::{
        self, State,
        key::{Key, Scheme},
        token::{Grant, mint},
    },
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

fn alice() -> Grant {
    Grant {
        subject: "alice".to_owned(),
        audience: "demo".to_owned(),
        lifetime: Duration::from_secs(60),
        groups: vec!["staff".to_owned()],
    }
}

#[tokio::test]
async fn a_token_verifies_with_the_key_set_that_the_issuer_publishes() {
    for (scheme, algorithm) in [(Scheme::Es256, Algorithm::ES256), (Scheme::Rs256, Algorithm::RS256)] {
        let listener = bind("127.0.0.1".parse().unwrap(), 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        let key = Key::generate(scheme).unwrap();
        let token = mint(&key, &url, &alice()).unwrap();
        let served = url.clone();
        tokio::spawn(async move { issuer::serve(listener, &served, &key).await });

        let metadata = request(address, "GET", "/.well-known/openid-configuration", "", "").await.json();
        assert_eq!(metadata["issuer"], url);
        assert_eq!(metadata["jwks_uri"], format!("{url}/jwks.json"));
        let keys: JwkSet =
            serde_json::from_value(request(address, "GET", "/jwks.json", "", "").await.json()).unwrap();
        let header = decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&["demo"]);
        rules.set_issuer(&[&url]);
        let claims = decode::<Value>(&token, &key, &rules).unwrap().claims;
        assert_eq!((&claims["sub"], &claims["groups"]), (&json!("alice"), &json!(["staff"])));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    }
}

#[tokio::test]
async fn a_key_is_made_once_and_only_its_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("issuer")).unwrap();
    let first = state.key().unwrap();
    assert_eq!(state.key().unwrap().id(), first.id());
    let path = folder.path().join("issuer/signing-key.pem");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!first.public_jwk().to_string().contains("\"d\""), "the private half stays private");
    assert!(state.issuer().is_err(), "an issuer that never started has no name");
    fs::write(&path, "not a key").unwrap();
    assert!(state.key().unwrap_err().to_string().contains("remove the file"));
}

#[tokio::test]
async fn two_tokens_of_one_holder_are_told_apart() {
    let key = Key::generate(Scheme::Es256).unwrap();
    let [a, b] = [0, 1].map(|_| mint(&key, "http://127.0.0.1:1", &alice()).unwrap());
    assert_ne!(a.split('.').nth(1), b.split('.').nth(1));
}
