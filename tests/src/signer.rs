//! A key that signs: one of an issuer's, or a caller's own.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Of P-256: made and used in microseconds, so a test can have hundreds of keys and thousands of tokens.
pub struct Signer {
    id: String,
    pair: EcdsaKeyPair,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn new(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self { id: id.to_owned(), pair: pair.expect("the system has randomness") }
    }

    /// The public half and nothing else, as a proof of possession brings it.
    pub fn public(&self) -> Value {
        // One byte that says that both coordinates follow.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
    }

    /// As it stands in a key set.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public();
        jwk["kid"] = self.id.as_str().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = "ES256".into();
        jwk
    }

    /// RFC 7638 section 3.
    pub fn thumbprint(&self) -> String {
        let public = self.public();
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, public["x"], public["y"]);
        sha256(text)
    }

    /// An access token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_named(&self.id, claims)
    }

    /// Under another name than its own.
    pub fn token_named(&self, id: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "typ": "at+jwt", "kid": id}), claims)
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        format!("{message}.{}", base64(signature.expect("the key signs")))
    }
}

/// In base64url.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    base64(digest(&SHA256, bytes.as_ref()))
}
